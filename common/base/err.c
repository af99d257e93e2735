#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status err_set(struct error *err, enum status status, const char *fmt, ...)
{
    va_list ap;

    err->status = status;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return status;
}

enum status err_wrap(struct error *err, const char *fmt, ...)
{
    char inner[sizeof(err->text)];
    va_list ap;
    int n;

    memcpy(inner, err->text, sizeof(inner));
    va_start(ap, fmt);
    n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(err->text)) {
        size_t left = sizeof(err->text) - (size_t)n;

        /* Cut on purpose: the precision says so to the compiler. */
        snprintf(err->text + n, left, ": %.*s", left > 3 ? (int)left - 3 : 0, inner);
    }
    return err->status;
}
