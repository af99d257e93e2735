/* common/base/rand.h */
/*
 * rand: xoshiro256** seeded by splitmix64: the same seed gives the same numbers on every machine.
 *
 * Not for secrets (crypto/ has those). Source: Blackman and Vigna, prng.di.unimi.it (public domain).
 */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stdint.h>

struct rand {
    uint64_t s[4];
};

void rand_seed(struct rand *r, uint64_t seed);
uint64_t rand_u64(struct rand *r);
uint64_t rand_below(struct rand *r, uint64_t n); /* 0 .. n-1, n > 0 */
double rand_unit(struct rand *r);                /* [0, 1), 53 bits */

#endif
