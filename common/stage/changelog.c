/* common/stage/changelog.c */
/*
 * A task's state on its compacted changelog topic, partition = task.
 *
 * Key      the state key's bytes, then 4 bytes big-endian: chunk number. The checkpoint has the empty state key.
 * Value    Avro State: epoch, index, chunks; positions (array of Cursor {input, task, offset, at, idle}): everything below
 *          `offset` of that channel is reflected; low (array of Low {input, offset, at}; the checkpoint alone): from where
 *          the inputs must be read again for keys that were not yet written; data (the chunk; the checkpoint's: {"at": ...});
 *          origins, repeats (the checkpoint alone; not there in older records): origin.h's cursors, and what they dropped.
 * Restore  every committed record up to the high watermark; then inputs are read from `low`; what a key already reflects is
 *          skipped, the rest up to the checkpoint's cursors updates state without output. Its outputs are safe, also where they
 *          go out without a transaction: a checkpoint is committed after them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mutant.h"
#include "stage/internal.h"
#include "wire/avro.h"
#include "wire/frame.h"

static void put_positions(struct stage *s, const struct task *t)
{
    int64_t n = 0;

    for (size_t i = 0; i < s->n_inputs; i++)
        n += (int64_t)t->inputs[i].merge.n_channels;
    if (n)
        avro_put_long(&s->body, n);
    for (size_t i = 0; i < s->n_inputs; i++)
        for (size_t c = 0; c < t->inputs[i].merge.n_channels; c++) {
            const struct channel *ch = &t->inputs[i].merge.channels[c];
            int64_t at = ch->n && SAFE(M_AT_PENDING) ? ch->taken_at : ch->at; /* pending records say their own `at` again when re-read */

            avro_put_long(&s->body, (int64_t)i);
            avro_put_long(&s->body, ch->task);
            avro_put_long(&s->body, SAFE(M_CURSOR_SAVED) ? ch->next_offset : 0);
            avro_put_long(&s->body, at);
            avro_put_bool(&s->body, ch->idle && (ch->n == 0 || !SAFE(M_IDLE_BEHIND))); /* it rests behind them */
        }
    avro_put_long(&s->body, 0);
}

/* `repeats` says below the checkpoint what the cursors, which are beyond, cannot say any more. */
static void put_origins(struct stage *s, const struct task *t)
{
    int64_t n = 0;

    for (size_t i = 0; i < s->n_inputs; i++)
        n += (int64_t)t->inputs[i].origins.n;
    if (n)
        avro_put_long(&s->body, n);
    for (size_t i = 0; i < s->n_inputs; i++)
        for (size_t k = 0; k < t->inputs[i].origins.n; k++) {
            const struct origin *o = &t->inputs[i].origins.last[k];

            avro_put_long(&s->body, (int64_t)i);
            avro_put_long(&s->body, o->task);
            avro_put_long(&s->body, o->input);
            avro_put_long(&s->body, o->channel);
            avro_put_long(&s->body, o->offset);
            avro_put_long(&s->body, o->index);
        }
    avro_put_long(&s->body, 0);
}

static void put_dropped(struct stage *s, const struct task *t)
{
    int64_t n = 0;

    for (size_t i = 0; i < s->n_inputs; i++)
        n += (int64_t)t->inputs[i].dropped.n;
    if (n)
        avro_put_long(&s->body, n);
    for (size_t i = 0; i < s->n_inputs; i++)
        for (size_t k = 0; k < t->inputs[i].dropped.n; k++) {
            avro_put_long(&s->body, (int64_t)i);
            avro_put_long(&s->body, t->inputs[i].dropped.offsets[k]);
        }
    avro_put_long(&s->body, 0);
}

/* low: the checkpoint's; NULL for a key's state. */
static enum status put_state(struct stage *s, struct task *t, struct view key, uint32_t index, uint32_t chunks,
                             const struct moment *low, struct view chunk, struct error *err)
{
    uint8_t suffix[4] = {(uint8_t)(index >> 24), (uint8_t)(index >> 16), (uint8_t)(index >> 8), (uint8_t)index};
    struct bytes full_key = BYTES_EMPTY;
    struct log_put put = {.topic = s->changelog, .partition = t->id, .atomic = true};
    enum status st;

    bytes_clear(&s->body);
    frame_put(&s->body, schema_id(s->state_schema));
    avro_put_long(&s->body, 0); /* epoch */
    avro_put_long(&s->body, index);
    avro_put_long(&s->body, chunks);
    put_positions(s, t);
    if (low) {
        avro_put_long(&s->body, (int64_t)s->n_inputs);
        for (size_t i = 0; i < s->n_inputs; i++) {
            avro_put_long(&s->body, (int64_t)i);
            avro_put_long(&s->body, low->low[i]);
            avro_put_long(&s->body, low->at[i]);
        }
    }
    avro_put_long(&s->body, 0);
    avro_put_bytes(&s->body, chunk);
    if (low) {
        put_origins(s, t);
        put_dropped(s, t);
    } else {
        avro_put_long(&s->body, 0);
        avro_put_long(&s->body, 0);
    }
    bytes_append(&full_key, key.data, key.n);
    bytes_append(&full_key, suffix, sizeof(suffix));
    put.key = view_of(full_key.data, full_key.n);
    put.value = view_of(s->body.data, s->body.n);
    st = output_put(s, &put, err);
    bytes_done(&full_key);
    return st;
}

enum status changelog_write(struct stage *s, struct task *t, struct error *err)
{
    struct moment low;
    struct state_chunk chunk = {0};
    size_t spent = 0;
    char at[64];

    /* Within a replay a key reflects less than the cursors that would go with it. */
    while (!(task_replays(t, s->n_inputs) && SAFE(M_REPLAY_WHOLE)) && (spent < s->changelog_bytes || chunk.more) && state_next_chunk(t->state, &chunk)) {
        if (put_state(s, t, chunk.entry->key, chunk.index, chunk.n_chunks, NULL, chunk.bytes, err) != OK)
            return err->status;
        spent += chunk.bytes.n + 64;
    }
    task_need(t, s->n_inputs, &low);
    for (size_t i = 0; i < s->n_inputs; i++)
        dropped_trim(&t->inputs[i].dropped, low.low[i]);
    snprintf(at, sizeof(at), "{\"at\":%" PRId64 "}", t->at);
    return put_state(s, t, view_of("", 0), 0, 1, &low, view_str(at), err);
}

struct restoring {
    struct stage *stage;
    struct task *task;
    int64_t low[INPUTS_MAX];
    int64_t at[INPUTS_MAX];
    bool found;
    size_t n;
};

static bool get_positions(struct avro_reader *r, struct positions *ret)
{
    int64_t n, v[4];
    bool idle;

    *ret = (struct positions){0};
    while (avro_get_block(r, &n) && n != 0) {
        ret->cursors = xrealloc(ret->cursors, (ret->n + (size_t)n) * sizeof(*ret->cursors));
        for (int64_t i = 0; i < n; i++) {
            for (int k = 0; k < 4; k++)
                if (!avro_get_long(r, &v[k]))
                    return false;
            if (!avro_get_bool(r, &idle) || v[0] < 0 || v[0] >= INPUTS_MAX || v[1] < -1 || v[1] > 65536)
                return false;
            ret->cursors[ret->n++] = (struct cursor){(int)v[0], (int)v[1], v[2], v[3], idle};
        }
    }
    return n == 0;
}

/* Keys written by one commit carry the same positions: kept once. */
static uint32_t intern_positions(struct task *t, struct positions *p)
{
    if (t->n_restored) {
        struct positions *last = &t->restored[t->n_restored - 1];

        if (last->n == p->n && (p->n == 0 || memcmp(last->cursors, p->cursors, p->n * sizeof(*p->cursors)) == 0)) {
            free(p->cursors);
            return (uint32_t)t->n_restored;
        }
    }
    t->restored = xrealloc(t->restored, (t->n_restored + 1) * sizeof(*t->restored));
    t->restored[t->n_restored++] = *p;
    return (uint32_t)t->n_restored;
}

/* An older checkpoint ends before them: nothing was written twice then. */
static bool get_origins(struct restoring *re, struct avro_reader *r)
{
    int64_t n, v[6];

    if (r->p == r->end)
        return true;
    while (avro_get_block(r, &n) && n != 0)
        for (int64_t i = 0; i < n; i++) {
            for (size_t k = 0; k < ARRAY_LEN(v); k++)
                if (!avro_get_long(r, &v[k]))
                    return false;
            if (v[0] < 0 || (size_t)v[0] >= re->stage->n_inputs)
                return false;
            (void)origins_pass(&re->task->inputs[v[0]].origins,
                               &(struct origin){(int)v[1], (int)v[2], (int)v[3], v[4], (int)v[5]});
        }
    while (avro_get_block(r, &n) && n != 0)
        for (int64_t i = 0; i < n; i++) {
            if (!avro_get_long(r, &v[0]) || !avro_get_long(r, &v[1]) || v[0] < 0 || (size_t)v[0] >= re->stage->n_inputs)
                return false;
            dropped_add(&re->task->inputs[v[0]].dropped, v[1]);
        }
    return r->p == r->end;
}

static void forget_origins(struct restoring *re)
{
    for (size_t i = 0; i < re->stage->n_inputs; i++) {
        origins_done(&re->task->inputs[i].origins);
        dropped_done(&re->task->inputs[i].dropped);
    }
}

static bool get_checkpoint(struct restoring *re, const struct positions *p, struct avro_reader *r)
{
    struct task *t = re->task;
    struct view data;
    char text[64];
    int64_t n, input, offset, at;

    while (avro_get_block(r, &n) && n != 0)
        for (int64_t i = 0; i < n; i++) {
            if (!avro_get_long(r, &input) || !avro_get_long(r, &offset) || !avro_get_long(r, &at) || input < 0 ||
                input >= INPUTS_MAX)
                return false;
            re->low[input] = offset;
            re->at[input] = at;
        }
    forget_origins(re); /* of an older checkpoint, which is not compacted away yet */
    if (!avro_get_bytes(r, &data) || data.n >= sizeof(text) || !get_origins(re, r))
        return false;
    memcpy(text, data.data, data.n);
    text[data.n] = '\0';
    if (sscanf(text, "{\"at\":%" SCNd64 "}", &t->at) != 1)
        return false;
    for (size_t i = 0; i < p->n; i++) {
        const struct cursor *c = &p->cursors[i];
        struct channel *ch;

        if ((size_t)c->input >= re->stage->n_inputs)
            return false;
        if (c->task >= 0)
            merge_expect(&t->inputs[c->input].merge, c->task + 1);
        ch = merge_channel(&t->inputs[c->input].merge, c->task);
        ch->next_offset = c->offset;
        ch->at = ch->taken_at = c->at;
        ch->idle = c->idle;
        if (c->offset > t->inputs[c->input].replay_to)
            t->inputs[c->input].replay_to = c->offset;
        if (re->stage->inputs[c->input].outside)
            t->inputs[c->input].fetched_at = t->inputs[c->input].low_at = re->at[c->input];
    }
    re->found = true;
    return true;
}

static enum status restore_one(void *ctx, struct view key, struct view value, struct error *err)
{
    struct restoring *re = ctx;
    struct positions p;
    struct avro_reader r;
    struct frame f;
    struct view chunk;
    int64_t epoch, index, chunks, n;

    ops_beat(re->stage->ops); /* a long restore is no dead loop */
    if (key.data == NULL || key.n < 4 || value.data == NULL)
        return OK;
    if (frame_parse(value, &f, err) != OK) {
        err->status = ERR_FATAL;
        return err_wrap(err, "changelog %s: a record that no Millrace stage wrote", re->stage->changelog);
    }
    r = (struct avro_reader){f.body.data, f.body.data + f.body.n};
    if (!avro_get_long(&r, &epoch) || !avro_get_long(&r, &index) || !avro_get_long(&r, &chunks) || !get_positions(&r, &p))
        return err_set(err, ERR_FATAL, "changelog %s: a record is cut short", re->stage->changelog);
    if (key.n == 4) {
        bool ok = get_checkpoint(re, &p, &r);

        free(p.cursors);
        return ok ? OK : err_set(err, ERR_FATAL, "changelog %s: a checkpoint cannot be read", re->stage->changelog);
    }
    while (avro_get_block(&r, &n) && n != 0)
        return err_set(err, ERR_FATAL, "changelog %s: a state record has `low`", re->stage->changelog);
    if (!avro_get_bytes(&r, &chunk))
        return err_set(err, ERR_FATAL, "changelog %s: a chunk is cut short", re->stage->changelog);
    re->n++;
    return state_restore(re->task->state, view_of(key.data, key.n - 4), (uint32_t)index, (uint32_t)chunks,
                         chunk, intern_positions(re->task, &p), err);
}

enum status changelog_restore(struct stage *s, struct task *t, struct error *err)
{
    struct log_position at[INPUTS_MAX];
    struct restoring re = {.stage = s, .task = t};
    int64_t progress;

    for (size_t i = 0; i < s->n_inputs; i++)
        re.low[i] = INT64_MAX;
    if (s->log->ops->committed(s->log, t->id, at, err) != OK)
        return err_wrap(err, "committed offsets of task %d", t->id);
    if (s->stateful && s->log->ops->restore(s->log, s->changelog, t->id, restore_one, &re, err) != OK)
        return err_wrap(err, "restore of task %d", t->id);
    for (size_t i = 0; i < s->n_inputs; i++) {
        struct task_input *ti = &t->inputs[i];
        int64_t from = at[i].offset < 0 ? 0 : at[i].offset;

        ti->committed = at[i].offset;
        if (at[i].offset >= 0 &&
            sscanf(at[i].metadata, "{\"taken\":%" SCNd64 ",\"at\":%" SCNd64, &ti->n_taken, &progress) == 2) {
            ti->committed_at = progress;
            if (!re.found && progress > t->at)
                t->at = progress; /* a stage without a changelog knows it from nowhere else */
        }
        if (re.found && re.low[i] != INT64_MAX)
            from = re.low[i]; /* never above the committed offset: the lowest not taken when the checkpoint was written */
        ti->next_offset = from;
        if (s->log->ops->seek(s->log, (int)i, t->id, from, err) != OK)
            return err_wrap(err, "seek %s partition %d to %" PRId64, s->inputs[i].topic->broker_name, t->id, from);
    }
    t->marked_at = s->def->at_least_once ? INT64_MIN : t->at; /* its last marks may not have left */
    metrics_add(&s->metrics, METRIC_RESTORES, 0, 1);
    log_info("task_restored", "task=%d state_records=%zu keys=%zu bytes=%zu", t->id, re.n, state_n_keys(t->state),
             state_bytes(t->state));
    return OK;
}

bool changelog_reflects(const struct task *t, const struct entry *e, int input, int task, int64_t offset)
{
    const struct positions *p;

    if (e->reflects == 0)
        return false;
    p = &t->restored[e->reflects - 1];
    for (size_t i = 0; i < p->n; i++)
        if (p->cursors[i].input == input && p->cursors[i].task == task)
            return offset < p->cursors[i].offset;
    return false;
}
