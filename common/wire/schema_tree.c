/* What can be asked of a parsed schema. Parsing canonical form and CRC-64-AVRO: Avro specification 1.11. */
#include <stdlib.h>

#include "wire/plan.h"
#include "wire/schema_doc.h"

const char *schema_type_name(const struct schema *s)
{
    static const char *const names[] = {"null",   "boolean", "int",  "long",  "float", "double", "bytes",
                                        "string", "record",  "enum", "fixed", "array", "map",    "union"};

    return s->name ? s->name : names[s->type];
}

/* A named type is written out once, then by its name. */
struct canonical {
    struct bytes *out;
    const struct schema **seen;
    size_t n_seen;
};

static void write_type(struct canonical *c, const struct schema *s);

static bool seen_before(struct canonical *c, const struct schema *s)
{
    for (size_t i = 0; i < c->n_seen; i++)
        if (c->seen[i] == s)
            return true;
    c->seen = xrealloc(c->seen, (c->n_seen + 1) * sizeof(struct schema *));
    c->seen[c->n_seen++] = s;
    return false;
}

static void write_fields(struct canonical *c, const struct schema *s)
{
    for (size_t i = 0; i < s->n; i++) {
        bytes_printf(c->out, "%s{\"name\":\"%s\",\"type\":", i > 0 ? "," : "", s->fields[i].name);
        write_type(c, s->fields[i].type);
        bytes_printf(c->out, "}");
    }
}

static void write_named(struct canonical *c, const struct schema *s)
{
    if (seen_before(c, s)) {
        bytes_printf(c->out, "\"%s\"", s->name);
        return;
    }
    bytes_printf(c->out, "{\"name\":\"%s\",\"type\":", s->name);
    if (s->type == SCHEMA_FIXED) {
        bytes_printf(c->out, "\"fixed\",\"size\":%zu}", s->fixed_bytes);
    } else if (s->type == SCHEMA_ENUM) {
        bytes_printf(c->out, "\"enum\",\"symbols\":[");
        for (size_t i = 0; i < s->n; i++)
            bytes_printf(c->out, "%s\"%s\"", i > 0 ? "," : "", s->symbols[i]);
        bytes_printf(c->out, "]}");
    } else {
        bytes_printf(c->out, "\"record\",\"fields\":[");
        write_fields(c, s);
        bytes_printf(c->out, "]}");
    }
}

static void write_type(struct canonical *c, const struct schema *s)
{
    switch (s->type) {
    case SCHEMA_RECORD:
    case SCHEMA_ENUM:
    case SCHEMA_FIXED:
        write_named(c, s);
        break;
    case SCHEMA_ARRAY:
    case SCHEMA_MAP:
        bytes_printf(c->out, "{\"type\":\"%s\",\"%s\":", schema_type_name(s),
                     s->type == SCHEMA_ARRAY ? "items" : "values");
        write_type(c, s->items);
        bytes_printf(c->out, "}");
        break;
    case SCHEMA_UNION:
        bytes_printf(c->out, "[");
        for (size_t i = 0; i < s->n; i++) {
            bytes_printf(c->out, "%s", i > 0 ? "," : "");
            write_type(c, s->branches[i]);
        }
        bytes_printf(c->out, "]");
        break;
    default:
        bytes_printf(c->out, "\"%s\"", schema_type_name(s));
    }
}

void schema_write_canonical(const struct schema *root, struct bytes *out)
{
    struct canonical c = {.out = out};

    write_type(&c, root);
    bytes_append(out, "", 1);
    free(c.seen);
}

uint64_t schema_crc64(const void *p, size_t n_bytes)
{
    const uint64_t empty = 0xc15d213aa4d7a795u;
    const uint8_t *bytes = p;
    uint64_t crc = empty;

    for (size_t i = 0; i < n_bytes; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (empty & -(crc & 1));
    }
    return crc;
}

static const struct schema_doc *doc_of(const struct schema *root)
{
    return (const struct schema_doc *)root;
}

const char *schema_json(const struct schema *root)
{
    return doc_of(root)->text;
}

const char *schema_canonical(const struct schema *root)
{
    return (const char *)doc_of(root)->canonical.data;
}

uint64_t schema_fingerprint(const struct schema *root)
{
    return doc_of(root)->fingerprint;
}

uint32_t schema_id(const struct schema *root)
{
    return (uint32_t)(doc_of(root)->fingerprint & 0x7fffffff);
}

bool schema_is_time(const struct schema *s)
{
    const struct schema *value = s ? schema_unwrap(s) : NULL;

    return value && value->type == SCHEMA_LONG && value->logical &&
           (strcmp(value->logical, "timestamp-millis") == 0 || strcmp(value->logical, "timestamp-micros") == 0);
}

const struct schema *schema_unwrap(const struct schema *s)
{
    if (s->type == SCHEMA_UNION && s->n == 2) {
        if (s->branches[0]->type == SCHEMA_NULL)
            return s->branches[1];
        if (s->branches[1]->type == SCHEMA_NULL)
            return s->branches[0];
    }
    return s;
}

static const struct schema_field *field_n(const struct schema *record, const char *name, size_t n)
{
    for (size_t i = 0; i < record->n; i++)
        if (strncmp(record->fields[i].name, name, n) == 0 && record->fields[i].name[n] == '\0')
            return &record->fields[i];
    return NULL;
}

const struct schema_field *schema_field(const struct schema *record, const char *name)
{
    return record->type == SCHEMA_RECORD ? field_n(record, name, strlen(name)) : NULL;
}

const struct schema *schema_at(const struct schema *s, const char *path)
{
    const struct schema_field *f;
    size_t n;

    for (;; path += n + 1) {
        n = strcspn(path, ".");
        s = schema_unwrap(s);
        f = s->type == SCHEMA_RECORD ? field_n(s, path, n) : NULL;
        if (f == NULL || path[n] == '\0')
            return f ? f->type : NULL;
        s = f->type;
    }
}

#define NEAR_NAME_MAX 64

/* Levenshtein's distance of two short names. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NEAR_NAME_MAX + 1];
    size_t n_b = strlen(b);

    for (size_t k = 0; k <= n_b; k++)
        row[k] = k;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t k = 0; k < n_b; k++) {
            size_t best = diagonal + (a[i] != b[k]);

            diagonal = row[k + 1];
            if (row[k + 1] + 1 < best)
                best = row[k + 1] + 1;
            if (row[k] + 1 < best)
                best = row[k] + 1;
            row[k + 1] = best;
        }
    }
    return row[n_b];
}

const char *schema_nearest(const struct schema *record, const char *name)
{
    size_t best = strlen(name) / 2 + 1; /* farther than half the name is another name */
    const char *nearest = "";

    if (record->type != SCHEMA_RECORD || strlen(name) > NEAR_NAME_MAX)
        return "";
    for (size_t i = 0; i < record->n; i++) {
        const char *field = record->fields[i].name;
        size_t d = strlen(field) > NEAR_NAME_MAX ? best + 1 : distance(name, field);

        if (d < best) {
            best = d;
            nearest = field;
        }
    }
    return nearest;
}

enum col_type schema_col_type(const struct schema *s)
{
    switch (s->type) {
    case SCHEMA_BOOLEAN:
        return COL_BOOL;
    case SCHEMA_INT:
    case SCHEMA_LONG:
        return COL_INT;
    case SCHEMA_FLOAT:
    case SCHEMA_DOUBLE:
        return COL_DOUBLE;
    case SCHEMA_STRING:
    case SCHEMA_ENUM:
        return COL_STRING;
    case SCHEMA_BYTES:
    case SCHEMA_FIXED:
        return COL_BYTES;
    default:
        return COL_AVRO;
    }
}

/* Counts when `wants` is NULL, else also writes them. */
static size_t add_wants(struct arena *a, const struct schema *record, const char *prefix, struct want *wants, size_t n)
{
    for (size_t i = 0; i < record->n; i++) {
        const struct schema *s = schema_unwrap(record->fields[i].type);
        const char *path = record->fields[i].name;

        if (wants != NULL && prefix[0] != '\0')
            path = arena_printf(a, "%s.%s", prefix, path);
        if (s->type == SCHEMA_NULL)
            continue;
        if (s->type == SCHEMA_RECORD) {
            n = add_wants(a, s, path, wants, n);
            continue;
        }
        if (wants != NULL)
            wants[n] = (struct want){path, schema_col_type(s)};
        n++;
    }
    return n;
}

void schema_make_wants(struct schema_doc *doc)
{
    const struct schema *root = schema_unwrap(&doc->root);
    struct want *wants;

    if (root->type != SCHEMA_RECORD)
        return;
    doc->n_wants = add_wants(NULL, root, "", NULL, 0);
    wants = arena_alloc(&doc->arena, doc->n_wants * sizeof(*wants));
    add_wants(&doc->arena, root, "", wants, 0);
    doc->wants = wants;
}

size_t schema_wants(const struct schema *s, struct want *ret_wants, size_t cap)
{
    const struct schema_doc *doc = doc_of(s);

    for (size_t i = 0; i < doc->n_wants && i < cap; i++)
        ret_wants[i] = doc->wants[i];
    return doc->n_wants;
}
