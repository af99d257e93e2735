#define _GNU_SOURCE
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
static char process_name[256] = "millrace";

void log_name(const char *name)
{
    snprintf(process_name, sizeof(process_name), "%s", name);
}

static void line(const char *level, const char *event, const char *fmt, va_list ap)
{
    char text[2048];
    struct timespec now;
    struct tm tm;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(text + n, sizeof(text) - n, ".%03ldZ level=%s worker=%s event=%s ",
                          now.tv_nsec / 1000000, level, process_name, event);
    if (n < sizeof(text))
        vsnprintf(text + n, sizeof(text) - n, fmt, ap);
    n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\n' || text[i] == '\r')
            text[i] = ' ';
    if (n == sizeof(text) - 1)
        n--;
    text[n++] = '\n';
    (void)!write(STDERR_FILENO, text, n);
}

#define DEFINE_LEVEL(level)                                                                        \
    void log_##level(const char *event, const char *fmt, ...)                                      \
    {                                                                                              \
        va_list ap;                                                                                \
                                                                                                   \
        va_start(ap, fmt);                                                                         \
        line(#level, event, fmt, ap);                                                              \
        va_end(ap);                                                                                \
    }

DEFINE_LEVEL(info)
DEFINE_LEVEL(warn)
DEFINE_LEVEL(error)

bool log_every_ms(int64_t *last, int64_t ms)
{
    int64_t now_ms = clock_mono_ms() + 1;

    if (*last != 0 && now_ms - *last < ms)
        return false;
    *last = now_ms;
    return true;
}
