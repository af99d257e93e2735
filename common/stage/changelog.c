/* common/stage/changelog.c */
/*
 * A task's state on its compacted changelog topic, partition = task.
 *
 * Key      the state key's bytes, then 4 bytes big-endian: chunk number. The checkpoint has the empty state key.
 * Value    Avro State: epoch, index, chunks; positions (array of Cursor {input, task, offset, at, idle, record_at}): everything below
 *          `offset` of that channel is reflected, and what the channel had said (the checkpoint alone) below `low`;
 *          low (array of Low {input, offset, at}; the checkpoint alone): from where the inputs must be read again for keys that
 *          were not yet written; data (the chunk; the checkpoint's: one line of JSON, see put_about); origins, repeats
 *          (the checkpoint alone): origin.h's cursors, and what they dropped.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/fail.h"
#include "base/mutant.h"
#include "stage/internal.h"
#include "wire/avro.h"
#include "wire/frame.h"

#define ABOUT_CHARS 1024

/* need: the checkpoint's, with what the channels had said there. Where nothing is kept `low` says it all. */
static void put_positions(struct stage *s, const struct task *t, const struct moment *need)
{
    size_t n_inputs = s->stateful ? s->n_inputs : 0;
    int64_t n = 0;

    for (size_t i = 0; i < n_inputs; i++)
        n += (int64_t)t->inputs[i].merge.n_channels;
    if (n)
        avro_put_long(&s->body, n);
    for (size_t i = 0; i < n_inputs; i++)
        for (size_t c = 0; c < t->inputs[i].merge.n_channels; c++) {
            const struct channel *ch = &t->inputs[i].merge.channels[c];
            bool known = need && ch->task >= 0 && ch->task < t->inputs[i].merge.tasks;
            const struct said *said = known ? &need->said[i][ch->task] : NULL;

            avro_put_long(&s->body, (int64_t)i);
            avro_put_long(&s->body, ch->task);
            avro_put_long(&s->body, SAFE(M_CURSOR_SAVED) ? ch->next_offset : 0);
            avro_put_long(&s->body, said ? said->at : 0);
            avro_put_bool(&s->body, said && said->idle);
            avro_put_long(&s->body, said ? said->record_at : 0);
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

/* need: the checkpoint's; NULL for a key's state. */
static enum status put_state(struct stage *s, struct task *t, struct view key, uint32_t index, uint32_t chunks,
                             const struct moment *need, struct view chunk, struct error *err)
{
    uint8_t suffix[4] = {(uint8_t)(index >> 24), (uint8_t)(index >> 16), (uint8_t)(index >> 8), (uint8_t)index};
    struct bytes full_key = BYTES_EMPTY;
    struct log_put put = {.topic = s->changelog, .partition = t->id, .atomic = true};
    enum status st;

    bytes_clear(&s->body);
    frame_put(&s->body, schema_id(s->state_schema));
    avro_put_long(&s->body, s->def->epoch);
    avro_put_long(&s->body, index);
    avro_put_long(&s->body, chunks);
    put_positions(s, t, need);
    if (need) {
        avro_put_long(&s->body, (int64_t)s->n_inputs);
        for (size_t i = 0; i < s->n_inputs; i++) {
            avro_put_long(&s->body, (int64_t)i);
            avro_put_long(&s->body, need->low[i]);
            avro_put_long(&s->body, s->inputs[i].outside ? need->said[i][0].at : INT64_MIN);
        }
    }
    avro_put_long(&s->body, 0);
    avro_put_bytes(&s->body, chunk);
    if (need) {
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

const char *stage_set(const struct stage *s)
{
    return s->def->compiled ? s->def->feature_set : "";
}

/* What the state is: how far, what the marks have said, of how many tasks, made by which features; of each input its writer's epoch at `low`, and how many
 * records were taken; how many keys were written. */
static void put_about(const struct stage *s, const struct task *t, const struct moment *need, char about[ABOUT_CHARS])
{
    int n = snprintf(about, ABOUT_CHARS, "{\"at\":%" PRId64 ",\"marked\":%" PRId64 ",\"tasks\":%d,\"layout\":%d,\"feature_set\":\"%s\","
                     "\"inputs\":[", t->at, t->marked_at, s->n_tasks_all, STATE_LAYOUT, stage_set(s));

    for (size_t i = 0; i < s->n_inputs; i++)
        n += snprintf(about + n, ABOUT_CHARS - (size_t)n, "%s[%d,%" PRId64 "]", i ? "," : "", need->epoch[i],
                      t->inputs[i].n_taken);
    n += snprintf(about + n, ABOUT_CHARS - (size_t)n, "],\"keys\":%zu", state_n_written(t->state));
    if (s->timed)
        n += snprintf(about + n, ABOUT_CHARS - (size_t)n, ",\"due\":[%" PRId64 ",%zu,%" PRId64 ",%d,%" PRId64 ",%d,\"%s\",%d,%" PRId64 "]",
                      t->due.at, t->due.from, need->at, t->due.last.channel, t->due.last.offset, t->due.last.index, t->due.topic,
                      t->due.partition, t->due.offset);
    snprintf(about + n, ABOUT_CHARS - (size_t)n, "}");
}

/* The more is dirty the more goes with a commit: what waits to be written stays some seconds' worth of changes. The loop waits for all
 * of it, so the tasks share what is the most. */
static size_t budget_of(const struct stage *s, const struct task *t)
{
    size_t share = state_dirty_bytes(t->state) / CHANGELOG_COMMITS, most = (s->changelog_bytes_max + s->n_tasks - 1) / s->n_tasks;

    share = share > s->changelog_bytes ? share : s->changelog_bytes;
    return share < most ? share : most;
}

enum status changelog_write(struct stage *s, struct task *t, struct error *err)
{
    const struct moment *need;
    struct state_chunk chunk = {0};
    size_t spent = 0, budget = budget_of(s, t);
    char about[ABOUT_CHARS];

    /* Within a replay a key reflects less than the cursors that would go with it. */
    while (!(task_replays(t, s->n_inputs) && SAFE(M_REPLAY_WHOLE)) && (spent < budget || chunk.more || t->woken) && state_next_chunk(t->state, &chunk)) {
        if (put_state(s, t, chunk.entry->key, chunk.index, chunk.n_chunks, NULL, chunk.bytes, err) != OK)
            return err->status;
        if (FAIL("changelog.write", err) != OK)
            return err->status;
        spent += chunk.bytes.n + 64;
    }
    need = task_need(t, s->n_inputs);
    for (size_t i = 0; i < s->n_inputs; i++)
        dropped_trim(&t->inputs[i].dropped, need->low[i]);
    put_about(s, t, need, about);
    return put_state(s, t, view_of("", 0), 0, 1, need, view_str(about), err);
}
