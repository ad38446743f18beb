"""What others wrote is shown as one line that no terminal, log or eye obeys, wherever it comes in."""

import ast
import io
import json
import pathlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mpcrt import errors
from mpcrt.cli.terminal import console
from mpcrt.cluster import certificates
from mpcrt.cluster import config as configs
from mpcrt.cluster.introductions import Introduction, Mismatch
from mpcrt.cluster.relay import Relay
from mpcrt.cluster.streams import CONTROL
from mpcrt.plan import Plan, PlanError
from mpcrt.runtime import trees
from mpcrt.runtime.agreement import _brief, read_body
from mpcrt.runtime.commands import pack
from mpcrt.text import plain, printable, quoted

ROOT = pathlib.Path(__file__).resolve().parent.parent / "mpcrt"
HOSTILE = "a\x1b[2J\x1b]0;t\x07\x9b31mb\u202ec\u2066d\u2028e\u2029f\x85g\x00h\r\nmpcrt: bob: done\u200bj[/red]"


def harmless(text: str, most: int = 5000) -> bool:
    return text.isprintable() and len(text) <= most


@pytest.mark.parametrize(
    "given, shown",
    [
        ("alice", "alice"),
        ("a\nmpcrt: bob: done\r\x1b[2Jb\x00", "a mpcrt: bob: done b"),
        ("\x1b[1;31mred\x1b[0m \x9b4mline\x9bm", "red line"),
        ("\x1b]0;title\x07x", "]0;title x"),
        ("a\u202eb\u2066c\u200bd\ufeffe", "a b c d e"),
        ("a\u2028b\u2029c\x85d\x1ce\x0bf", "a b c d e f"),
        ("\ud800", ""),
        ("Zürich 数据 [/red]", "Zürich 数据 [/red]"),
        ("x" * 301, "x" * 297 + "..."),
        (b"\x1b".decode() + "[", "["),
    ],
)
def test_plain(given, shown):
    assert plain(given) == shown


def test_plain_keeps_no_more_than_it_may_and_printable_keeps_columns():
    assert harmless(plain(HOSTILE)) and len(plain("x" * 10**6, 40)) == 40
    assert printable("    File\x1b[0m x\x00") == "    File x "
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert quoted(deep).startswith("(") and quoted("a\x1b", 10) == r"'a\x1b'" and len(quoted("x" * 10**6)) == 100


@pytest.mark.parametrize("kind", ["LinkError", "PeerLost", "ProtocolError", "DisagreementError"])
def test_errors_about_others_are_plain(kind):
    error = getattr(errors, kind)("it says: " + HOSTILE * 10_000)
    assert harmless(str(error), 1 << 14) and "[/red]" in str(error)


def test_an_abort_is_plain_in_every_field():
    for fields in ((HOSTILE, "f", 3), ("bob", HOSTILE, 3), ("bob", "f", 3, 1, HOSTILE * 100)):
        error = errors.PeerFailed(*fields, reporter="carol")
        assert harmless(str(error)) and harmless(error.party, 100) and harmless(error.function, 100)


def test_what_a_call_says_is_plain():
    number, _, text, _, _ = read_body(pack([3, b"", HOSTILE * 1000, [], []]), "bob")
    assert number == 3 and harmless(text, 1000)
    deep = []
    for _ in range(900):
        deep = [deep]
    assert harmless(_brief(["share", HOSTILE, 1, deep, *range(10**5)]), 200)


def test_tree_keys_are_plain():
    structure, types = trees.decode(trees.encode(["d", [HOSTILE], 0], [trees.LeafType((2,), "float32")]))
    assert harmless(trees.describe(structure, types))
    many = ["d", [f"{i:0500}\x1b[2J" for i in range(1000)], *range(1000)]
    assert all(harmless(path, 110) for path in trees.paths(many))
    with pytest.raises(KeyError) as info:
        trees.child(many, "w")
    assert harmless(info.value.args[0], 400)


def test_differences_between_cluster_files_are_plain():
    config = configs.local(2)
    for theirs in (
        config.canonical() | {HOSTILE: 1},
        config.canonical() | {"name": HOSTILE * 1000},
        config.canonical() | {"devices": {HOSTILE * 1000: {}}},
    ):
        assert harmless(config.difference(theirs) or HOSTILE, 400)


def test_a_plan_is_refused_in_few_words():
    big = tuple(range(10**5))
    with pytest.raises(PlanError) as info:
        Plan.from_bytes(pack([1, [["input", [], [big, "a\x1b" * 10**5, 0, "x"]]], []]))
    assert harmless(str(info.value), 400)


def introduction(**changes) -> bytes:
    return json.dumps(json.loads(Introduction.of(configs.local(2), "bob").line()) | changes).encode()


def test_a_doctors_introduction_is_plain_or_refused():
    read = Introduction.read(introduction(party="\ud800" + HOSTILE * 9, version=HOSTILE, jax="[red]", digest=HOSTILE))
    assert all(harmless(text, 100) for text in (read.party, read.version, read.jax, read.digest))
    for line in (
        introduction(time=float("nan")),
        introduction(time=float("inf")),
        introduction(time=-1),
        introduction(canonical=3),
        introduction().replace(b'"time": 1', b'"time": 1' + b"0" * 400),
        b"[" * 16_000,
    ):
        with pytest.raises(Mismatch):
            Introduction.read(line)


def test_what_a_child_tells_its_launcher_is_plain():
    err = io.StringIO()
    relay = Relay(["bob"], out=io.StringIO(), err=err)
    for entry in ({"begin": HOSTILE}, {"end": 1, "said": HOSTILE}):
        relay.err("bob", CONTROL + json.dumps(entry) + "\n")
    assert relay.began == {"bob": plain(HOSTILE)} and relay.ended == {"bob": (1, plain(HOSTILE))}
    huge = {"progress": {"call": "f()", "rounds": 10**400, "of": 1, "bytes": 1, "seconds": 1}}
    for other in (
        "",
        "[" * 100_000,
        "7",
        '{"end": "1", "said": ""}',
        '{"begin": 3}',
        '{"progress": {}}',
        json.dumps(huge),
    ):
        relay.err("bob", CONTROL + other + "\n")
    assert relay.began == {"bob": plain(HOSTILE)} and relay.ended == {"bob": (1, plain(HOSTILE))}
    assert err.getvalue() == "", "such lines are the launcher's alone"


def test_certificates_are_shown_plain(tmp_path):
    from click.testing import CliRunner

    from mpcrt.cli import main

    authority = certificates.create_authority("eve\x1b[2J\u202e\nstate    valid now")
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("bob\x1b[31m\nissuer nobody")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x\x1b]0;t\x07\u2028y")])
    made = certificates._builder(subject, authority.certificate.subject, key.public_key(), 5)
    made = made.add_extension(names, critical=False).sign(authority.key, hashes.SHA256())
    file = tmp_path / "bob.pem"
    file.write_bytes(certificates._certificate_pem(made))
    shown = CliRunner().invoke(main, ["certs", "show", str(file)])
    assert shown.exit_code == 0 and len(shown.output.splitlines()) == 7, shown.output
    assert all(line.isprintable() for line in shown.output.splitlines())


@pytest.mark.parametrize("extension", ["2.5.29.17", "2.5.29.19"])
def test_a_malformed_certificate_is_said(tmp_path, extension):
    from click.testing import CliRunner

    from mpcrt.cli import main

    authority, key = certificates.create_authority("x"), ec.generate_private_key(ec.SECP256R1())
    made = certificates._builder(authority.certificate.subject, authority.certificate.subject, key.public_key(), 5)
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier(extension), b"\x30\x05garb")
    file = tmp_path / "odd.pem"
    file.write_bytes(
        certificates._certificate_pem(made.add_extension(odd, critical=False).sign(authority.key, hashes.SHA256()))
    )
    shown = CliRunner().invoke(main, ["certs", "show", str(file)])
    assert shown.exit_code == 2 and "malformed certificate" in shown.output, shown.output


def test_no_console_interprets_markup(capsys):
    console().print("bob[/red] :bomb: [bold]x")
    assert capsys.readouterr().out == "bob[/red] :bomb: [bold]x\n"
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Console":
                given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                assert given.get("markup") is False, f"{path.name}:{node.lineno}: consoles are made in cli/terminal.py"
