/*
 * clock: what time it is, and waiting: the one place that asks the machine.
 *
 * Units    milliseconds. wall: since 1970, for the named exceptions and `created` fields; mono: for deadlines.
 * Threads  any.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
void clock_nap_ms(int ms);

#endif
