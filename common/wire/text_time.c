/* ISO 8601 in UTC and epoch milliseconds; days by the proleptic Gregorian calendar. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/text.h"

#define DAY_MS INT64_C(86400000)

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days since 1970-01-01. The year begins in March here: so a leap day is the last of its year. */
static int64_t days_of(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? month + 9 : month - 3;

    return y * 365 + floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400) + (153 * m + 2) / 5 + day - 1 - 719468;
}

static void date_of(int64_t days, int *year, int *month, int *day)
{
    int64_t era = floor_div(days + 719468, 146097);
    int64_t d = days + 719468 - era * 146097;
    int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
    int64_t in_year = d - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * in_year + 2) / 153;

    *day = (int)(in_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(y + era * 400 + (*month <= 2));
}

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
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;

    return m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] + (m == 2 && leap);
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
    *ret_ms = days_of(y, month, d) * DAY_MS + (((int64_t)h * 60 + min - offset) * 60 + s) * 1000 + ms;
    return true;
}

void text_format_time(int64_t ms, char out[32])
{
    int64_t days = floor_div(ms, DAY_MS);
    int64_t in_day = ms - days * DAY_MS;
    int y, month, d;

    if (days < days_of(0, 1, 1) || days > days_of(9999, 12, 31)) {
        snprintf(out, 32, "%lld", (long long)ms);
        return;
    }
    date_of(days, &y, &month, &d);
    snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", y % 10000, month % 100, d % 100,
             (int)(in_day / 3600000) % 100, (int)(in_day / 60000 % 60), (int)(in_day / 1000 % 60),
             (int)(in_day % 1000));
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
