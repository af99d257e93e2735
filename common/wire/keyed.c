#include "wire/keyed.h"

#include "wire/avro.h"

void keyed_put(struct view key, struct view value, struct bytes *out)
{
    avro_put_bytes(out, key);
    avro_put_bytes(out, value);
}

enum status keyed_get(struct view body, struct view *ret_key, struct view *ret_value, struct error *err)
{
    struct avro_reader r = {body.data, body.data + body.n};

    if (!avro_get_bytes(&r, ret_key) || !avro_get_bytes(&r, ret_value) || r.p != r.end)
        return err_set(err, ERR_RECORD, "expected a key and a value and nothing more");
    return OK;
}
