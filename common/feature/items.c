#include "feature/items.h"

#include "wire/avro.h"

/* The items of one list; *ret_n: how many there are, at most n_items. Its lengths were looked at when its row was decoded. */
static enum status decode_list(const struct items *d, struct view list, struct batch *b, size_t *ret_n, struct error *err)
{
    struct avro_reader r = {list.data, list.data + list.n};
    int64_t n_block;

    for (*ret_n = 0; avro_get_block(&r, &n_block) && n_block > 0;)
        for (; n_block > 0; n_block--) {
            size_t n_bytes;

            if (*ret_n == d->n_items)
                return OK;
            if (decode_first(d->plan, view_of(r.p, (size_t)(r.end - r.p)), b, *ret_n, &n_bytes, err) != OK)
                return err->status;
            r.p += n_bytes;
            ++*ret_n;
        }
    return OK;
}

static void copy(const struct col *from, size_t i, struct col *to, size_t r)
{
    to->null[r] = from->null[i];
    if (to->type >= COL_STRING)
        to->view[r] = from->view[i];
    else
        to->i64[r] = from->i64[i]; /* of a double its bits */
}

void items_put(const struct items *d, const struct batch *in, const char **bad, struct col *cols)
{
    const struct col *list = batch_col(in, d->list);
    struct batch b;
    struct error err;

    batch_init(&b, in->arena, d->n_items);
    decode_begin(d->wants, d->n_fields, &b);
    for (size_t r = 0; r < in->n_rows; r++) {
        size_t n = 0;

        if (bad[r] == NULL && !list->null[r] && decode_list(d, list->view[r], &b, &n, &err) != OK)
            bad[r] = arena_strdup(in->arena, err.text);
        for (size_t i = 0; i < d->n_fields; i++)
            for (size_t k = 0; k < d->n_items; k++)
                if (k < n)
                    copy(&b.cols[i], k, &cols[i * d->n_items + k], r);
                else
                    cols[i * d->n_items + k].null[r] = 1;
    }
}
