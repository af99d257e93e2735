/* common/wire/schema_doc.h: what schema.c keeps around a root; for common/wire alone. */
#ifndef WIRE_SCHEMA_DOC_H
#define WIRE_SCHEMA_DOC_H

#include "base/arena.h"
#include "wire/schema.h"

#define SCHEMA_DEPTH_MAX 32
#define SCHEMA_PARTS_MAX 10000
#define SCHEMA_FIXED_MAX ((size_t)1024 * 1024)

struct schema_doc {
    struct schema root; /* first: a root's address is its document's */
    struct arena arena;
    json_t *json;
    char *text; /* of json, malloc */
    struct bytes canonical;
    uint64_t fingerprint;
    /* The columns' names that schema_wants gives out: as many as were made when it was parsed. */
    const struct want *wants;
    size_t n_wants;
};

/* Appends the parsing canonical form and a terminator. */
void schema_write_canonical(const struct schema *root, struct bytes *out);
uint64_t schema_crc64(const void *p, size_t n_bytes);

/* Fills doc->wants. */
void schema_make_wants(struct schema_doc *doc);

/*
 * A default's Avro encoding, also the check that it fits: any branch of a union may match it. Missing
 * fields of a record take their own defaults. ERR_FATAL with what was expected and got.
 */
enum status schema_encode_default(const struct schema *s, const json_t *value, struct bytes *out,
                                  struct error *err);

#endif
