"""The shortest example: three companies learn their mean salary, and nothing else about each other's.

mpcrt run cluster_configs/three_party.yaml examples/mean_salary.py
"""

import jax.numpy as jnp
import numpy as np

import mpcrt

alice, bob, carol = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.party("carol")
spu = mpcrt.spu("spu")


@alice
def alices():
    return np.array([4100.0, 5200.0, 3900.0])


@bob
def bobs():
    return np.array([6100.0, 4800.0])


@carol
def carols():
    return np.array([3700.0, 4400.0, 5100.0, 4950.0])


@spu
def mean(*salaries):
    return jnp.mean(jnp.concatenate(salaries))


@alice
def tell(value):
    print(f"mean salary: {value:.0f}")


def main():
    result = mean(alices(), bobs(), carols()).to(mpcrt.public)
    tell(result)
