#include "json/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* jansson allows 2048 levels; what we read needs far fewer, and recursion over it must be bounded. */
static int depth_of(struct view text)
{
    int depth = 0;
    int depth_max = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.data[i];

        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > depth_max)
                depth_max = depth;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return depth_max;
}

enum status json_read(struct view text, json_t **ret_value, struct error *err)
{
    json_error_t e;
    json_t *value;

    if (text.n > JSON_BYTES_MAX)
        return err_set(err, ERR_FATAL, "JSON of %zu bytes; at most %zu are read", text.n, JSON_BYTES_MAX);
    if (depth_of(text) > JSON_DEPTH_MAX)
        return err_set(err, ERR_FATAL, "JSON nested deeper than %d", JSON_DEPTH_MAX);
    value = json_loadb((const char *)text.data, text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (value == NULL)
        return err_set(err, ERR_FATAL, "line %d, column %d: %s", e.line, e.column, e.text);
    *ret_value = value;
    return OK;
}

enum status json_read_file(const char *path, json_t **ret_value, struct error *err)
{
    struct bytes text = BYTES_EMPTY;
    FILE *f = fopen(path, "rb");
    enum status st;
    size_t n;

    if (f == NULL)
        return err_set(err, ERR_FATAL, "%s: cannot be read: %s", path, strerror(errno));
    do {
        n = fread(bytes_reserve(&text, 65536), 1, 65536, f);
        text.n += n;
    } while (n != 0 && text.n <= JSON_BYTES_MAX);
    fclose(f);
    st = json_read(view_of(text.data, text.n), ret_value, err);
    bytes_done(&text);
    return st == OK ? OK : err_wrap(err, "%s", path);
}
