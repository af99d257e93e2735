/* ISO 8601 in UTC and epoch milliseconds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/calendar.h"
#include "wire/text.h"

#define DAY_MS INT64_C(86400000)

static bool take_digits(struct view *t, size_t n, int *ret)
{
    int v = 0;

    if (t->n < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (t->data[i] < '0' || t->data[i] > '9')
            return false;
        v = v * 10 + (t->data[i] - '0');
    }
    *t = view_of(t->data + n, t->n - n);
    *ret = v;
    return true;
}

static bool take_char(struct view *t, char a, char b)
{
    if (t->n == 0 || (t->data[0] != (uint8_t)a && t->data[0] != (uint8_t)b))
        return false;
    *t = view_of(t->data + 1, t->n - 1);
    return true;
}

/* ".123456": milliseconds, what is finer is cut off. */
static bool take_fraction(struct view *t, int *ret_ms)
{
    int scale = 100;
    int digit;
    size_t n = 0;

    for (; t->n != 0 && take_digits(t, 1, &digit); n++) {
        *ret_ms += digit * scale;
        scale /= 10;
    }
    return n > 0 && n <= 9;
}

static bool take_offset(struct view *t, int *ret_minutes)
{
    bool minus = t->n != 0 && t->data[0] == '-';
    int h, m;

    if (!take_char(t, '+', '-') || !take_digits(t, 2, &h))
        return false;
    (void)take_char(t, ':', ':');
    if (!take_digits(t, 2, &m) || h > 18 || m > 59)
        return false;
    *ret_minutes = (minus ? -1 : 1) * (h * 60 + m);
    return true;
}

static bool is_date(int y, int m, int d)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] + (m == 2 && calendar_is_leap(y));
}

bool text_parse_time(struct view t, int64_t *ret_ms)
{
    int y, month, d, h = 0, min = 0, s = 0, ms = 0, offset = 0;

    if (!take_digits(&t, 4, &y) || !take_char(&t, '-', '-') || !take_digits(&t, 2, &month) ||
        !take_char(&t, '-', '-') || !take_digits(&t, 2, &d) || !is_date(y, month, d))
        return false;
    if (t.n != 0) {
        if (!take_char(&t, 'T', ' ') || !take_digits(&t, 2, &h) || !take_char(&t, ':', ':') ||
            !take_digits(&t, 2, &min) || h > 23 || min > 59)
            return false;
        if (take_char(&t, ':', ':')) {
            if (!take_digits(&t, 2, &s) || s > 59)
                return false;
            if (take_char(&t, '.', ',') && !take_fraction(&t, &ms))
                return false;
        }
        if (t.n != 0 && !take_char(&t, 'Z', 'z') && !take_offset(&t, &offset))
            return false;
    }
    if (t.n != 0)
        return false;
    *ret_ms = calendar_days(y, month, d) * DAY_MS + (((int64_t)h * 60 + min - offset) * 60 + s) * 1000 + ms;
    return true;
}

void text_format_time(int64_t ms, char out[32])
{
    int64_t days = floor_div(ms, DAY_MS);
    int64_t in_day = ms - days * DAY_MS;
    struct date date;

    if (days < calendar_days(0, 1, 1) || days > calendar_days(9999, 12, 31)) {
        snprintf(out, 32, "%lld", (long long)ms);
        return;
    }
    date = calendar_date(days);
    snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)(date.year % 10000), date.month % 100, date.day % 100,
             (int)(in_day / 3600000) % 100, (int)(in_day / 60000 % 60), (int)(in_day / 1000 % 60),
             (int)(in_day % 1000));
}

const char *text_time_seems(int64_t ms, int64_t from_ms, int64_t to_ms)
{
    static const struct {
        const char *unit;
        int64_t in_second;
    } units[] = {{"seconds", 1}, {"microseconds", 1000000}, {"nanoseconds", 1000000000}};

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        double as_ms = (double)ms / (double)units[i].in_second * 1000;

        if (as_ms >= (double)from_ms && as_ms <= (double)to_ms)
            return units[i].unit;
    }
    return NULL;
}

bool text_parse_moment(struct view text, int64_t *ret_ms)
{
    char digits[24], *end;

    if (text.n <= 4 || text.n >= sizeof(digits) || memchr(text.data, '\0', text.n))
        return text_parse_time(text, ret_ms);
    memcpy(digits, text.data, text.n);
    digits[text.n] = '\0';
    *ret_ms = strtoll(digits, &end, 10);
    return (*end == '\0' && *ret_ms > INT64_MIN / 2 && *ret_ms < INT64_MAX / 2) || text_parse_time(text, ret_ms);
}
