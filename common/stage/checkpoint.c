/* common/stage/checkpoint.c: a checkpoint's record, as changelog.c wrote it, read back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"
#include "stage/checkpoint.h"

/* By input and task, as they are written: so they are added without moving others. */
static bool in_order(const struct positions *p, int64_t input, int64_t task)
{
    const struct cursor *last = p->n ? &p->cursors[p->n - 1] : NULL;

    return last == NULL || last->input < input || (last->input == input && last->task < task);
}

bool checkpoint_positions(const struct stage *s, struct avro_reader *r, struct positions *ret)
{
    int64_t n = -1, v[4], record_at;
    bool idle;

    *ret = (struct positions){0};
    while (avro_get_block(r, &n) && n != 0) {
        ret->cursors = xrealloc(ret->cursors, (ret->n + (size_t)n) * sizeof(*ret->cursors));
        for (int64_t i = 0; i < n; i++) {
            for (int k = 0; k < 4; k++)
                if (!avro_get_long(r, &v[k]))
                    return false;
            if (!avro_get_bool(r, &idle) || !avro_get_long(r, &record_at) || v[0] < 0 || v[0] >= (int64_t)s->n_inputs ||
                v[1] < CHANNEL_FOREIGN || v[1] > 65536 || v[2] < 0 || !in_order(ret, v[0], v[1]))
                return false;
            ret->cursors[ret->n++] = (struct cursor){(int)v[0], (int)v[1], v[2], v[3], record_at, idle};
        }
    }
    return n == 0;
}

static enum status get_due(const struct task *t, json_t *due, struct due *ret, struct error *err)
{
    const char *topic;
    json_int_t v[5];
    json_error_t at;

    *ret = (struct due){.at = INT64_MIN, .replay_at = INT64_MIN};
    if (due == NULL)
        return OK;
    if (json_unpack_ex(due, &at, 0, "[I, I, I, i, I, i, s, i, I !]", &v[0], &v[1], &v[2], &ret->last.channel, &v[3], &ret->last.index,
                       &topic, &ret->partition, &v[4]) != 0)
        return err_set(err, ERR_FATAL, "`due`: %s", at.text);
    if (v[1] < 0 || v[3] < 0 || v[4] < 0 || ret->last.index < 0 || ret->partition < 0 || strlen(topic) >= sizeof(ret->topic))
        return err_set(err, ERR_FATAL, "`due` is of no record");
    ret->at = v[0];
    ret->from = (size_t)v[1];
    ret->replay_at = v[2];
    ret->last.task = t->id;
    ret->last.offset = v[3];
    ret->offset = v[4];
    snprintf(ret->topic, sizeof(ret->topic), "%s", topic);
    return OK;
}

/* put_about, back. */
static enum status get_about(const struct stage *s, const struct task *t, struct view data, struct checkpoint *c, struct error *err)
{
    json_auto_t *about = NULL;
    json_t *inputs, *due = NULL;
    const char *set;
    json_int_t v[4];
    json_error_t at;
    int epoch;

    if (json_read(data, &about, err) != OK)
        return err->status;
    if (json_unpack_ex(about, &at, 0, "{s:I, s:I, s:i, s?i, s:s, s:o, s:I, s?o !}", "at", &v[0], "marked", &v[1], "tasks", &c->tasks,
                       "layout", &c->layout, "feature_set", &set, "inputs", &inputs, "keys", &v[2], "due", &due) != 0)
        return err_set(err, ERR_FATAL, "%s", at.text);
    if (json_array_size(inputs) != s->n_inputs || strlen(set) >= sizeof(c->feature_set))
        return err_set(err, ERR_FATAL, "%zu inputs, feature set \"%s\"", json_array_size(inputs), set);
    c->at = v[0];
    c->marked_at = v[1];
    c->keys = v[2];
    memcpy(c->feature_set, set, strlen(set) + 1);
    for (size_t i = 0; i < s->n_inputs; i++) {
        if (json_unpack_ex(json_array_get(inputs, i), &at, 0, "[i, I !]", &epoch, &v[3]) != 0)
            return err_set(err, ERR_FATAL, "input %zu: %s", i, at.text);
        if (epoch < 0 || v[3] < 0)
            return err_set(err, ERR_FATAL, "input %zu: epoch %d, %lld taken", i, epoch, v[3]);
        c->upstream_epoch[i] = epoch;
        c->taken[i] = v[3];
    }
    return get_due(t, due, &c->due, err);
}

static bool get_origins(const struct stage *s, struct task *t, struct avro_reader *r)
{
    struct dropped *d;
    int64_t n = -1, v[6];

    while (avro_get_block(r, &n) && n != 0)
        for (int64_t i = 0; i < n; i++) {
            for (size_t k = 0; k < ARRAY_LEN(v); k++)
                if (!avro_get_long(r, &v[k]))
                    return false;
            if (v[0] < 0 || (size_t)v[0] >= s->n_inputs)
                return false;
            if (!origins_next(&t->inputs[v[0]].origins,
                              &(struct origin){(int)v[1], (int)v[2], (int)v[3], v[4], (int)v[5]}))
                return false;
        }
    if (n != 0)
        return false;
    n = -1;
    while (avro_get_block(r, &n) && n != 0)
        for (int64_t i = 0; i < n; i++) {
            if (!avro_get_long(r, &v[0]) || !avro_get_long(r, &v[1]) || v[0] < 0 || (size_t)v[0] >= s->n_inputs)
                return false;
            d = &t->inputs[v[0]].dropped;
            if (d->n && d->offsets[d->n - 1] > v[1])
                return false;
            dropped_add(d, v[1]);
        }
    return n == 0 && r->p == r->end;
}

void checkpoint_forget_origins(struct task *t, size_t n_inputs)
{
    for (size_t i = 0; i < n_inputs; i++) {
        origins_done(&t->inputs[i].origins);
        dropped_done(&t->inputs[i].dropped);
    }
}

enum status checkpoint_get(const struct stage *s, struct task *t, struct avro_reader *r, struct checkpoint *ret, struct error *err)
{
    struct checkpoint c = *ret;
    struct view data;
    int64_t n = -1, input, offset, at;

    while (avro_get_block(r, &n) && n != 0)
        for (int64_t i = 0; i < n; i++) {
            if (!avro_get_long(r, &input) || !avro_get_long(r, &offset) || !avro_get_long(r, &at) || input < 0 ||
                input >= (int64_t)s->n_inputs || offset < -1)
                return err_set(err, ERR_FATAL, "`low` is cut short, or of an input that the stage does not have");
            c.low[input] = offset;
        }
    checkpoint_forget_origins(t, s->n_inputs); /* of an older checkpoint, which is not compacted away yet */
    if (n != 0 || !avro_get_bytes(r, &data))
        return err_set(err, ERR_FATAL, "`low` or `data` is cut short");
    if (get_about(s, t, data, &c, err) != OK)
        return err_wrap(err, "`data`");
    if (!get_origins(s, t, r))
        return err_set(err, ERR_FATAL, "`origins` or `repeats` is cut short");
    *ret = c;
    return OK;
}
