/* common/base/siphash.h: SipHash-2-4 (Aumasson and Bernstein, 2012): keys that collide cannot be prepared. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stdint.h>

#include "base/bytes.h"

uint64_t siphash(const uint64_t key[2], struct view v);

#endif
