"""Which partition a key is in, for tests that are not to ask the programs they check."""


def partition(key, n):
    """murmur2 as Java clients have it; written here again, as the programs are not to check themselves."""
    m, h, data = 0x5BD1E995, 0x9747B28C ^ len(key), bytearray(key)
    for i in range(0, len(data) - 3, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ ((k ^ k >> 24) * m & 0xFFFFFFFF)
    tail = data[len(data) // 4 * 4:]
    for i in range(len(tail) - 1, -1, -1):
        h ^= tail[i] << 8 * i
    if tail:
        h = h * m & 0xFFFFFFFF
    h = (h ^ h >> 13) * m & 0xFFFFFFFF
    return ((h ^ h >> 15) & 0x7FFFFFFF) % n
