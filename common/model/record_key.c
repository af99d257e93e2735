/* common/model/record_key.c: the keys of the models topic. */
#include <stdlib.h>

#include "model/record.h"

#define KEY_BYTES_MAX (MODEL_NAME_MAX + 64)

bool model_name_ok(struct view name)
{
    if (name.n == 0 || name.n > MODEL_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))
            return false;
    }
    return true;
}

void model_key_put(const struct model_key *key, struct bytes *out)
{
    switch (key->kind) {
    case MODEL_KEY_RECORD:
        bytes_printf(out, "%s/%d", key->name, key->version);
        break;
    case MODEL_KEY_PART:
        bytes_printf(out, "%s/%d/%d", key->name, key->version, key->part);
        break;
    case MODEL_KEY_ROUTING:
        bytes_printf(out, "%s/routing/%lld", key->name, (long long)key->seq);
        break;
    case MODEL_KEY_VERDICT:
        bytes_printf(out, "%s/verdict/%lld", key->name, (long long)key->boundary_ms);
        break;
    }
}

/* What lies behind the name: "<version>", "<version>/<part>", "routing/<seq>" or "verdict/<boundary_ms>". */
static bool parse_rest(const char *rest, struct model_key *k)
{
    const char *slash = strchr(rest, '/');
    long long first = strtoll(rest, NULL, 10), second = slash ? strtoll(slash + 1, NULL, 10) : 0;

    if (slash == NULL || (rest[0] >= '0' && rest[0] <= '9')) {
        if (first < 1 || first > INT32_MAX || second < 0 || second > INT32_MAX)
            return false;
        k->kind = slash ? MODEL_KEY_PART : MODEL_KEY_RECORD;
        k->version = (int32_t)first;
        k->part = (int32_t)second;
        return true;
    }
    if (strncmp(rest, "routing/", 8) == 0) {
        k->kind = MODEL_KEY_ROUTING;
        k->seq = second;
        return second >= 1;
    }
    k->kind = MODEL_KEY_VERDICT;
    k->boundary_ms = second;
    return strncmp(rest, "verdict/", 8) == 0;
}

bool model_key_parse(struct view key, struct model_key *ret_key)
{
    struct model_key k = {0};
    struct bytes again = BYTES_EMPTY;
    char text[KEY_BYTES_MAX + 1];
    char *slash;
    bool same;

    if (key.n == 0 || key.n > KEY_BYTES_MAX)
        return false;
    memcpy(text, key.data, key.n);
    text[key.n] = '\0';
    slash = strchr(text, '/');
    if (slash == NULL || !model_name_ok(view_of(text, (size_t)(slash - text))))
        return false;
    memcpy(k.name, text, (size_t)(slash - text));
    if (!parse_rest(slash + 1, &k))
        return false;
    /* One spelling a key: leading zeros, signs, blanks or a rest would make two of one. */
    model_key_put(&k, &again);
    same = view_eq(key, view_of(again.data, again.n));
    bytes_done(&again);
    if (same)
        *ret_key = k;
    return same;
}

void model_key_record(const char *name, int32_t version, struct bytes *out)
{
    bytes_clear(out);
    bytes_printf(out, "%s/%d", name, version);
}

void model_key_part(const char *name, int32_t version, int32_t part, struct bytes *out)
{
    bytes_clear(out);
    bytes_printf(out, "%s/%d/%d", name, version, part);
}

void model_key_routing(const char *name, int64_t seq, struct bytes *out)
{
    bytes_clear(out);
    bytes_printf(out, "%s/routing/%lld", name, (long long)seq);
}

void model_key_verdict(const char *name, int64_t boundary_ms, struct bytes *out)
{
    bytes_clear(out);
    bytes_printf(out, "%s/verdict/%lld", name, (long long)boundary_ms);
}
