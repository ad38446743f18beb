"""Cluster files: what they mean, and that each mistake is named with its file, line, key and what is allowed."""

import time

import pytest

from mpcrt.cluster import config as configs
from mpcrt.cluster.endpoint import Endpoint
from mpcrt.errors import ConfigError

GOOD = """\
name: demo
parties:
  alice: {address: 127.0.0.1:9101}
  bob:
    address: 127.0.0.1:9102
  dealer: {address: 127.0.0.1:9103}
devices:
  spu: {parties: [alice, bob], dealer: dealer, fraction_bits: 18}
timeouts: {connect: 30, idle: 60}
"""
TLS = 'tls: {ca: certs/ca.pem, certificate: "certs/{party}.pem", key: "certs/{party}.key"}\n'

# (what is replaced, by what, the line named or None, words the message has)
MISTAKES = [
    ("name: demo\n", "", None, ["name: is missing", "name, parties, devices, timeouts, tls"]),
    ("parties:\n  alice", "partys:\n  alice", 2, ["partys: unknown key; did you mean 'parties'?", "name, parties"]),
    ("address: 127.0.0.1:9102", "adress: 127.0.0.1:9102", 5, ["parties.bob.adress", "'address'", "address, listen"]),
    ("fraction_bits: 18", "fraction_bit: 18", 8, ["devices.spu.fraction_bit", "did you mean 'fraction_bits'?"]),
    ("connect: 30", "conect: 30", 9, ["timeouts.conect", "did you mean 'connect'?", "connect, idle"]),
    (", dealer: dealer", "", 8, ["devices.spu.dealer: is missing", "parties, dealer, fraction_bits"]),
    ("name: demo\n", "name: demo\nname: again\n", 2, ["name: this key is given twice", "line 1"]),
    ("  bob:\n", "  alice:\n", 4, ["parties.alice: this key is given twice", "line 3"]),
    ("127.0.0.1:9102", "127.0.0.1:9101", 5, ["parties.bob.address", "already alice's"]),
    ("[alice, bob]", "[alice, bbo]", 8, ["devices.spu.parties", "unknown party 'bbo'", "'bob'", "alice, bob, dealer"]),
    ("dealer: dealer,", "dealer: daler,", 8, ["devices.spu.dealer", "unknown party 'daler'", "did you mean 'dealer'?"]),
    ("dealer: dealer,", "dealer: bob,", 8, ["devices.spu.dealer", "bob also computes in spu"]),
    ("[alice, bob]", "[alice]", 8, ["devices.spu.parties", "1 computing party", "at least 2"]),
    ("[alice, bob]", "[]", 8, ["0 computing parties", "at least 2"]),
    ("[alice, bob]", "[alice, alice]", 8, ["devices.spu.parties.1", "alice is named twice"]),
    ("[alice, bob]", "alice", 8, ["devices.spu.parties", "'alice' is not a list of party names"]),
    ("[alice, bob]", "[alice, 7]", 8, ["devices.spu.parties.1", "7 is not text"]),
    ("127.0.0.1:9102", "127.0.0.1:99999", 5, ["parties.bob.address", "port 99999 is not between 1 and 65535"]),
    ("127.0.0.1:9102", "127.0.0.1:0", 5, ["port 0 is not between"]),
    ("127.0.0.1:9102", "127.0.0.1", 5, ["parties.bob.address", "'127.0.0.1' is not an address", "host:port"]),
    ("127.0.0.1:9102", "9102", 5, ["9102 is not an address", "host:port"]),
    ("127.0.0.1:9102", "tcp://bob:9102", 5, ["'tcp://bob:9102' is not an address"]),
    ("127.0.0.1:9102", "0.0.0.0:9102", 5, ["cannot be dialled", "listen"]),
    ("127.0.0.1:9102", "", 5, ["parties.bob.address: has no value"]),
    ("fraction_bits: 18", "fraction_bits: 7", 8, ["devices.spu.fraction_bits: 7 is not between 8 and 24"]),
    ("fraction_bits: 18", "fraction_bits: 25", 8, ["25 is not between 8 and 24"]),
    ("fraction_bits: 18", "fraction_bits: 18.5", 8, ["18.5 is not a whole number"]),
    ("fraction_bits: 18", "fraction_bits: yes", 8, ["'yes' is not a whole number"]),
    ("connect: 30", "connect: 0", 9, ["timeouts.connect", "above 0"]),
    ("connect: 30", "connect: .nan", 9, ["timeouts.connect", "'.nan' is not a number, such as"]),
    ("idle: 60", "idle: soon", 9, ["timeouts.idle: 'soon' is not a number"]),
    ("  alice: {", "  Alice: {", 3, ["parties.Alice", "'Alice' is no name", "lower-case"]),
    ("  bob:", "  public:", 4, ["parties.public", "reserved"]),
    ("  spu:", "  bob:", 8, ["devices.bob", "is also a party's name"]),
    ("  bob:\n    address: 127.0.0.1:9102", "  bob: bobs-host", 4, ["'bobs-host' is not a mapping with address"]),
    ("    address: 127.0.0.1:9102", "    listen: 127.0.0.1:9102", 5, ["parties.bob.listen", "no use without"]),
    ("name: demo", "name: '  '", 1, ["name: is empty; any text names the cluster"]),
    (GOOD[GOOD.index("devices:") : GOOD.index("timeouts:")], "devices: {}\n", 7, ["names no device"]),
    ("timeouts: {connect: 30, idle: 60}", TLS.replace("certs/ca.pem", "' '"), 9, ["tls.ca: is empty"]),
    ("name: demo", "name: [demo", 2, ["not YAML"]),
    ("name: demo", "name: 7", 1, ["name: 7 is not text"]),
    ("name: demo", "? [a]\n: b\nname: demo", 1, ["a key must be a word"]),
    ("timeouts: {connect: 30, idle: 60}", "tls: maybe", 9, ["tls: 'maybe' is neither `off` nor", "certificate"]),
    ("timeouts: {connect: 30, idle: 60}", "tls:", 9, ["tls: has no value"]),
    ("timeouts: {connect: 30, idle: 60}", "tls: on", 9, ["tls: 'on' is neither `off` nor"]),
    ("timeouts: {connect: 30, idle: 60}", "tls: {ca: a}", 9, ["tls.certificate: is missing", "ca, certificate, key"]),
    ("timeouts: {connect: 30, idle: 60}", TLS.replace("ca:", "cas:"), 9, ["tls.cas", "did you mean 'ca'?"]),
    ("timeouts: {connect: 30, idle: 60}", TLS.replace("{party}.key", "{name}.key"), 9, ["tls.key", "{name}"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "words"), MISTAKES, ids=[f"{m[1]!r:.40}" for m in MISTAKES])
def test_each_mistake_is_named(tmp_path, old, new, line, words):
    assert GOOD.count(old) == 1
    file = tmp_path / "cluster.yaml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        configs.load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: " if line else f"{file}: "), message
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert caught.value.exit_code == 2


def test_a_file_without_parties():
    with pytest.raises(ConfigError, match="parties: names no party; at least two computing parties and a dealer"):
        configs.loads("name: demo\nparties: {}\ndevices: {}\n")


def test_two_parties_without_an_address_cannot_reach_each_other():
    text = GOOD.replace("{address: 127.0.0.1:9101}", "{}").replace("    address: 127.0.0.1:9102", "    {}")
    with pytest.raises(ConfigError, match=r"parties\.bob: has no address, and nor has alice"):
        configs.loads(text)


@pytest.mark.parametrize("key", ["address", "listen"])
def test_tls_off_is_for_loopback_addresses_only(key):
    address = "address: 10.0.0.7:9102" if key == "address" else "address: 127.0.0.1:9102\n    listen: 0.0.0.0:9102"
    text = GOOD.replace("address: 127.0.0.1:9102", address)
    assert configs.loads(text).tls_on
    with pytest.raises(ConfigError, match=rf"parties\.bob\.{key}: .* is not a loopback address, and `tls: off`"):
        configs.loads(text + "tls: off\n")


def test_a_missing_file_a_directory_and_an_empty_file(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such cluster file"):
        configs.load(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="is a directory"):
        configs.load(tmp_path)
    with pytest.raises(ConfigError, match="is empty"):
        configs.loads("# nothing\n")
    with pytest.raises(ConfigError, match="a cluster file is a mapping with name, parties"):
        configs.loads("- alice\n")
    with pytest.raises(ConfigError, match="not YAML"):
        configs.loads("name: \x00\n")


def test_a_large_file_is_no_cluster_file(tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text(GOOD + "# x\n" * 1000)
    assert configs.load(file).name == "demo"
    file.write_text(GOOD + "# x\n" * 20_000)
    with pytest.raises(ConfigError, match="is larger than 65536 bytes"):
        configs.load(file)


def test_hostile_yaml_is_refused_quickly():
    aliases = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    with pytest.raises(ConfigError, match="more than 10000 values"):
        configs.loads(aliases)
    for tag in ("!!python/object/apply:os.getcwd", "!!int", "!here", "!!set"):
        with pytest.raises(ConfigError, match=r"cluster\.yaml:1: name: has the tag"):
            configs.loads(f"name: {tag} x\n")
    with pytest.raises(ConfigError, match="more than 10000 values"):
        configs.loads(f"name: [{'a,' * 12_000}]")


@pytest.mark.parametrize("text", ["[" * 500, "- " * 5000, "{a: " * 5000, "&a [*a]", "a: &a {b: *a}", "a: " * 5000])
def test_nesting_without_an_end_is_refused(tmp_path, text):
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"nested too deep|not YAML: "):
        configs.load(file)


# what YAML 1.1 makes numbers, dates and truths of: a word here, in the place of each thing that a file has
WORDS = ["0x" + "f" * 20_000, "0b" + "1" * 20_000, "1" * 20_000, "9:30", ":".join(["59"] * 9_000), "1:30.5", "010",
         "0o17", "1_000", "2026-11-29", "2026-11-29 10:00:00", "yes", "no", "~", ".inf",
         "!!binary x", "<<", "*x"]  # fmt: skip


@pytest.mark.parametrize("word", WORDS, ids=[w[:12] for w in WORDS])
def test_numbers_in_other_bases_dates_and_truths_are_text(tmp_path, word):
    file = tmp_path / "cluster.yaml"
    for key in ("parties", "devices", "timeouts", "tls"):
        others = {"parties": {"alice": {}}, "devices": {}, "name": "x"}
        file.write_text("".join(f"{k}: {v}\n" for k, v in others.items() if k != key) + f"{key}: {word}\n")
        refused(file)
    for old in ("127.0.0.1:9102", "[alice, bob]", "dealer,", "18", "60", "alice,"):
        assert GOOD.count(old) == 1
        file.write_text(GOOD.replace(old, word + ("," if old.endswith(",") else "")))
        refused(file)
    file.write_text(GOOD.replace("  bob:", f"  {word}:"))
    refused(file)


def refused(file):
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        configs.load(file)
    assert len(str(caught.value)) < 2000 + len(str(file)) and str(caught.value).isprintable()
    assert time.monotonic() - began < 5


def test_words_that_yaml_reads_otherwise_are_names_as_they_are_written():
    text = GOOD.replace("  bob:", "  no:").replace("[alice, bob]", "[alice, no]").replace("demo", "2026-11-29")
    config = configs.loads(text)
    assert config.computing == ("alice", "no") and config.name == "2026-11-29"
    again = configs.loads(config.to_yaml())
    assert again.canonical() == config.canonical()


@pytest.mark.parametrize(
    "name", ["9:30", "0x10", "1e5", "+.5", "1.5e3", "010", "off", "null", "~", "12", "1.", "-", "a: b"]
)
def test_any_name_is_written_so_that_it_reads_back(name):
    config = configs.loads(GOOD).replace(name=name)
    assert configs.loads(config.to_yaml()).name == name


def test_a_good_file_reads_as_written():
    config = configs.loads(GOOD)
    assert config.names == ("alice", "bob", "dealer")
    assert (config.computing, config.dealers) == (("alice", "bob"), ("dealer",))
    assert config.parties["bob"].address == Endpoint("127.0.0.1", 9102)
    assert config.devices["spu"].fraction_bits == 18
    assert (config.tls, config.tls_on) == (None, True)
    assert configs.loads(GOOD + "tls: off\n").tls == configs.loads(GOOD + "tls: 'off'\n").tls == "off"


def test_names_that_yaml_would_read_as_booleans():
    text = GOOD.replace("  bob:", "  on:").replace("[alice, bob]", "[alice, 'on']")
    assert configs.loads(text).computing == ("alice", "on")


def test_several_devices_and_parties_in_none():
    text = GOOD.replace("  dealer: {", "  carol: {}\n  second: {address: 127.0.0.1:9110}\n  dealer: {")
    text = text.replace("timeouts", "  big: {parties: [bob, alice], dealer: second}\ntimeouts")
    config = configs.loads(text)
    assert config.dealers == ("second", "dealer")
    assert config.devices["big"].parties == ("bob", "alice")
    assert config.parties["carol"].bind is None


def test_the_digest_is_of_what_must_be_agreed():
    config = configs.loads(GOOD)
    same = [
        GOOD.replace("fraction_bits: 18", "fraction_bits: +18"),
        GOOD.replace("    address: 127.0.0.1:9102", "    address: 127.0.0.1:9102\n    listen: 0.0.0.0:9102"),
        GOOD + TLS,
        GOOD.replace("  alice: {address: 127.0.0.1:9101}\n", "  alice: {address: 127.0.0.1:9101}  # a comment\n"),
    ]
    for text in same:
        assert configs.loads(text).digest() == config.digest()
    different = {
        "name": GOOD.replace("demo", "other"),
        "parties.alice": GOOD.replace(":9101", ":9111"),
        "devices.spu.fraction_bits": GOOD.replace("18", "20"),
        "devices.spu.parties": GOOD.replace("[alice, bob]", "[bob, alice]"),
        "timeouts.idle": GOOD.replace("idle: 60", "idle: 61"),
        "parties.order": GOOD.replace("  alice: {address: 127.0.0.1:9101}\n", "").replace(
            "  dealer:", "  alice: {address: 127.0.0.1:9101}\n  dealer:"
        ),
        "tls": GOOD + "tls: off\n",
    }
    for key, text in different.items():
        other = configs.loads(text)
        assert other.digest() != config.digest()
        assert str(config.difference(other.canonical())).startswith(f"{key}: here ")
        assert str(config.difference(other.canonical(), "at bob", "at alice")).startswith(f"{key}: at bob ")
    assert config.difference(configs.loads(GOOD).canonical()) is None


def test_a_written_file_reads_back(tmp_path):
    config = configs.loads(GOOD + TLS, str(tmp_path / "sub" / "cluster.yaml"))
    file = tmp_path / "again.yaml"
    file.write_text(config.to_yaml())
    again = configs.load(file)
    assert again.digest() == config.digest()
    assert isinstance(again.tls, configs.TlsPaths)
    assert again.tls.ca == str(tmp_path / "sub" / "certs" / "ca.pem")
    assert again.tls.certificate.endswith("certs/{party}.pem")


def test_tls_files_are_looked_for_beside_the_cluster_file(tmp_path, monkeypatch):
    file = tmp_path / "cluster.yaml"
    file.write_text(GOOD + TLS.replace("key:", "key_password_env: MPCRT_TEST_WORD, key:"))
    config = configs.load(file)
    with pytest.raises(ConfigError, match=r"cluster\.yaml:10: tls\.ca: no such file: .*certs/ca\.pem"):
        config.tls_files("alice")
    (tmp_path / "certs").mkdir()
    for name in ("ca.pem", "alice.pem", "alice.key"):
        (tmp_path / "certs" / name).write_text("")
    monkeypatch.delenv("MPCRT_TEST_WORD", raising=False)
    with pytest.raises(ConfigError, match=r"tls\.key_password_env: the environment has no variable MPCRT_TEST_WORD"):
        config.tls_files("alice")
    monkeypatch.setenv("MPCRT_TEST_WORD", "sesame")
    files = config.tls_files("alice")
    assert files is not None and files.password == "sesame"
    assert files.key == tmp_path / "certs" / "alice.key"
    assert "sesame" not in repr(files)


def test_a_party_alone_needs_certificates_or_off():
    with pytest.raises(ConfigError, match="tls: missing: a party that runs alone needs"):
        configs.loads(GOOD).tls_files("alice")
    assert configs.loads(GOOD + "tls: off\n").tls_files("alice") is None


def test_require_party_suggests():
    with pytest.raises(ConfigError, match="no party 'alcie'; did you mean 'alice'"):
        configs.loads(GOOD).require_party("alcie")


@pytest.mark.parametrize("parties", [2, 3, 5])
def test_local_clusters(parties):
    config = configs.local(parties, fraction_bits=20)
    assert len(config.computing) == parties and config.dealers == ("dealer",)
    assert config.devices["spu"].fraction_bits == 20
    with pytest.raises(ConfigError, match="2 to 5 computing parties"):
        configs.local(6)


@pytest.mark.parametrize("name", ["two_party", "three_party", "two_party_plain"])
def test_the_examples_are_good(name, pytestconfig):
    config = configs.load(pytestconfig.rootpath / "cluster_configs" / f"{name}.yaml")
    assert config.tls == ("off" if name == "two_party_plain" else None)
    assert len(config.computing) == (3 if name == "three_party" else 2)


def test_endpoints():
    assert Endpoint.parse("[::1]:9101") == Endpoint("::1", 9101)
    assert str(Endpoint("::1", 9101)) == "[::1]:9101"
    assert str(Endpoint.parse("Host.Example:9101")) == "host.example:9101"
    assert Endpoint.parse("localhost:1").loopback and Endpoint.parse("[::1]:1").loopback
    assert not Endpoint.parse("example.org:1").loopback and not Endpoint.parse("0.0.0.0:1").loopback
    assert Endpoint.parse("[::]:1").wildcard
    for bad in ("[::1", "[:::]:1", "a b:1", ":1", "host:", "host:-1", "::1:9101", "9:30", "1.2.3:1", "1.2.3.400:1",
                "0x7f.1:1", "0x7f000001:1", "1.2.3.0x4:1", "a.7:1", "a..b:1", ".a:1", "-:1", "a.-b:1", "a" * 64 + ":1",
                "abc." * 64 + "d:1"):  # fmt: skip
        with pytest.raises(ValueError):
            Endpoint.parse(bad)


@pytest.mark.parametrize(
    "written",
    [
        "{address: [::1]:9101}", "{address: ::1:9101}", "\n    address: [::1]:9101", "{address: fe80::1:9101}",
        '{address: "::1:9101"}', "\n    listen: [fe80::1]:9101",
    ],
)  # fmt: skip
def test_an_ipv6_address_without_quotes_gets_a_hint(written):
    with pytest.raises(ConfigError, match=r'"\[.*::1.*\]:9101"'):
        configs.loads(GOOD.replace("{address: 127.0.0.1:9101}", written))
    quoted = configs.loads(GOOD.replace("{address: 127.0.0.1:9101}", '{address: "[::1]:9101"}'))
    assert quoted.parties["alice"].address == configs.Endpoint("::1", 9101)


def test_an_address_with_a_space_gets_a_hint():
    with pytest.raises(ConfigError, match=r"an address has no space: address: 127\.0\.0\.1:9101"):
        configs.loads(GOOD.replace("127.0.0.1:9101", "127.0.0.1: 9101"))


def test_text_that_cannot_be_sent_is_refused():
    with pytest.raises(ConfigError, match="name: holds half a character"):
        configs.loads('name: "\\ud800"\n' + GOOD.partition("\n")[2])
