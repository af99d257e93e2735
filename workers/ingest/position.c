#include "workers/ingest/position.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "json/json.h"
#include "wire/avro.h"

void position_put(const char *source, const struct position *p, struct bytes *out)
{
    json_auto_t *v = json_pack("{s:s%, s:I, s:I, s:s}", "source", source, strlen(source), "bytes", (json_int_t)p->bytes,
                               "records", (json_int_t)p->records, "sha256", p->sha256);
    char *text = v ? json_dumps(v, JSON_COMPACT) : NULL;

    avro_put_long(out, 0); /* epoch */
    avro_put_long(out, 0); /* index */
    avro_put_long(out, 1); /* chunks */
    avro_put_long(out, 0); /* positions: none */
    avro_put_long(out, 0); /* low: none */
    avro_put_str(out, text ? text : "{}");
    free(text);
}

enum status position_read(struct view body, struct position *ret_position, struct error *err)
{
    struct avro_reader r = {body.data, body.data + body.n};
    int64_t skip;
    struct view data;
    json_auto_t *v = NULL;
    const char *sha;

    for (int i = 0; i < 5; i++)
        if (!avro_get_long(&r, &skip) || (i >= 3 && skip != 0))
            return err_set(err, ERR_RECORD, "a position on the changelog: not a State record of ingest");
    if (!avro_get_bytes(&r, &data) || json_read(data, &v, err) != OK)
        return err_set(err, ERR_RECORD, "a position on the changelog: expected JSON");
    sha = json_string_value(json_object_get(v, "sha256"));
    if (sha == NULL || strlen(sha) != HASH_HEX_CHARS || !json_is_integer(json_object_get(v, "bytes")) ||
        json_integer_value(json_object_get(v, "bytes")) < 0)
        return err_set(err, ERR_RECORD, "a position on the changelog: expected bytes and sha256");
    ret_position->bytes = json_integer_value(json_object_get(v, "bytes"));
    ret_position->records = json_integer_value(json_object_get(v, "records"));
    snprintf(ret_position->sha256, sizeof(ret_position->sha256), "%s", sha);
    return OK;
}
