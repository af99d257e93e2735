#include "base/calendar.h"

bool calendar_is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* The year begins in March here: so a leap day is the last of its year. */
int64_t calendar_days(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? month + 9 : month - 3;

    return y * 365 + floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400) + (153 * m + 2) / 5 + day - 1 - 719468;
}

struct date calendar_date(int64_t days)
{
    int64_t era = floor_div(days + 719468, 146097);
    int64_t d = days + 719468 - era * 146097;
    int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
    int64_t in_year = d - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * in_year + 2) / 153;
    struct date date = {.month = (int)(m < 10 ? m + 3 : m - 9), .day = (int)(in_year - (153 * m + 2) / 5 + 1)};

    date.year = y + era * 400 + (date.month <= 2);
    return date;
}

int calendar_weekday(int64_t days) /* 1970-01-01 was a Thursday */
{
    return (int)(days + 3 - floor_div(days + 3, 7) * 7);
}
