/* common/base/calendar.h: days since 1970-01-01 and dates, by the proleptic Gregorian calendar. Pure. */
#ifndef BASE_CALENDAR_H
#define BASE_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

struct date {
    int64_t year;
    int month, day; /* from 1 */
};

int64_t calendar_days(int64_t year, int month, int day);
struct date calendar_date(int64_t days);
bool calendar_is_leap(int64_t year);
/* Monday is 0. */
int calendar_weekday(int64_t days);

/* Towards minus infinity: before 1970 as after. b > 0. */
static inline int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

#endif
