"""SplitMix64 random numbers, keyed by (seed, purpose, indices), in NumPy: those of
`shared/kernels/src/random.rs`."""

import numpy as np

GOLDEN = 0x9E37_79B9_7F4A_7C15
MASK = (1 << 64) - 1


def mix(z):
    """SplitMix64's output function, for a Python integer or a uint64 array."""
    if isinstance(z, int):
        z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & MASK
        return z ^ (z >> 31)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))


def key(seed, purpose, indices=()):
    """The 64-bit key of (seed, purpose, indices): `random::key`."""
    state = mix(seed)
    for word in [*purpose.encode(), 256, *indices]:
        state = mix(((state + GOLDEN) & MASK) ^ mix(word))
    return state


def uniform(key, count):
    """`random::uniform_at(key, i)` for i in 0..count: multiples of 2^-24 in [0, 1), float64."""
    states = np.uint64(key) + np.uint64(GOLDEN) * np.arange(1, count + 1, dtype=np.uint64)
    return (mix(states) >> np.uint64(40)).astype(np.float64) / (1 << 24)


# The first outputs of the reference implementation from state 0, for integers and for arrays.
assert [mix(GOLDEN), mix(2 * GOLDEN & MASK)] == [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4]
assert uniform(0, 1)[0] == (0xE220_A839_7B1D_CDAF >> 40) / (1 << 24)
