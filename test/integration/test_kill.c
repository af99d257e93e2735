/* test/integration/test_kill.c */
/*
 * A stage on the real broker is killed (SIGKILL) again and again while it works; what a read_committed reader sees must equal
 * the quiet run by the file driver, record for record and byte for byte, but for the offsets in lineage.
 * Arguments: PIPELINE-FILE STAGE-BINARY FOLDER. The pipeline has a stage `customer` from `transactions` to `enriched`.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/rand.h"
#include "kafka/kafka.h"
#include "wire/avro.h"
#include "wire/container.h"
#include "wire/frame.h"
#include "wire/text.h"

#define RECORDS 35000
#define CUSTOMERS 300
#define KILLS 5
#define DEADLINE_S 120

static struct arena arena;

static void must(enum status st, const struct error *err, const char *what)
{
    if (st == OK)
        return;
    fprintf(stderr, "%s: %s\n", what, err->text);
    exit(1);
}

static void make_topics(const struct pipeline *p, const char *brokers)
{
    struct topic_spec specs[8];
    struct error err;
    size_t n = 0;

    for (size_t i = 0; i < p->n_topics; i++)
        if (strcmp(p->topics[i].name, "transactions") == 0 || strcmp(p->topics[i].name, "enriched") == 0)
            specs[n++] = (struct topic_spec){p->topics[i].broker_name, p->topics[i].partitions, false, 0};
    specs[n++] = (struct topic_spec){arena_printf(&arena, "%s.dead_letters", p->name), 1, false, 0};
    specs[n++] = (struct topic_spec){arena_printf(&arena, "%s.customer.changelog", p->name), 4, true, 0};
    specs[n++] = (struct topic_spec){SCHEMAS_TOPIC, 1, true, 0};
    specs[n++] = (struct topic_spec){MODELS_TOPIC, 1, true, 0};
    must(kafka_topics_ensure(brokers, p, specs, n, &err), &err, "topics");
}

/* The same transactions to the topic and to a file. */
static void write_input(const struct pipeline *p, const char *brokers, const char *file)
{
    const struct topic *t = pipeline_topic(p, "transactions");
    struct container_writer *c;
    struct writer *w;
    struct error err;
    struct rand r;
    int64_t ts = INT64_C(1522540800000);
    struct bytes b = BYTES_EMPTY;

    rand_seed(&r, 5);
    must(container_create(file, t->schema, &c, &err), &err, file);
    must(writer_new(brokers, p, arena_printf(&arena, "%s.input", p->name), &w, &err), &err, "writer");
    must(writer_put_schema(w, arena_printf(&arena, "%s-value", t->broker_name), t->schema, &err), &err, "schema");
    for (int64_t i = 0; i < RECORDS; i++) {
        char customer[16], terminal[16];

        ts += (int64_t)rand_below(&r, 300000);
        snprintf(customer, sizeof(customer), "%d", (int)rand_below(&r, CUSTOMERS));
        snprintf(terminal, sizeof(terminal), "%d", (int)rand_below(&r, 100));
        bytes_clear(&b);
        frame_put(&b, schema_id(t->schema));
        avro_put_long(&b, i);
        avro_put_long(&b, ts);
        avro_put_str(&b, customer);
        avro_put_str(&b, terminal);
        avro_put_double(&b, (double)rand_below(&r, 20000) / 100);
        must(container_append(c, view_of(b.data + 5, b.n - 5), &err), &err, "append");
        must(writer_put(w, t->broker_name, kafka_partition(view_str(customer), t->partitions), view_str(customer),
                        view_of(b.data, b.n), &err), &err, "put");
    }
    must(writer_commit(w, &err), &err, "commit");
    must(container_finish(c, &err), &err, "finish");
    writer_free(w);
    bytes_done(&b);
}

static pid_t start(const char *const *argv, const char *log)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (freopen(log, "a", stderr) == NULL)
            _exit(126);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

/* The record as text without what may differ: every "offset": number. tx_id is its first field and says where it goes. */
static void keep(char **rows, const struct schema *s, struct view body, const char *from)
{
    struct bytes text = BYTES_EMPTY;
    struct error err;
    char *in, *out, *p;
    long id;

    must(text_from_avro(s, body, false, &text, &err), &err, from);
    bytes_append(&text, "", 1);
    for (in = out = (char *)text.data; *in;) {
        if (strncmp(in, "\"offset\":", 9) == 0) {
            in += 9;
            in += strcspn(in, ",}");
        } else {
            *out++ = *in++;
        }
    }
    *out = '\0';
    p = strstr((char *)text.data, "\"tx_id\":");
    id = p ? strtol(p + 8, NULL, 10) : -1;
    if (id < 0 || id >= RECORDS || rows[id]) {
        fprintf(stderr, "%s: tx_id %ld is out of range or there twice\n", from, id);
        exit(1);
    }
    rows[id] = xstrdup((char *)text.data);
    bytes_done(&text);
}

static void read_file(char **rows, const char *path)
{
    struct container_reader *r;
    struct error err;
    struct view body;

    must(container_open(path, &r, &err), &err, path);
    for (;;) {
        must(container_next(r, &body, &err), &err, path);
        if (body.data == NULL)
            break;
        keep(rows, container_schema(r), body, "file");
    }
    container_close(r);
}

/* Reads along, read committed, and kills the stage each time another share of the outputs has come. */
static int read_and_kill(char **rows, const struct pipeline *p, const char *brokers, const char *const *argv, const char *log)
{
    const struct topic *t = pipeline_topic(p, "enriched");
    struct reader *r;
    struct error err;
    struct rand rand;
    pid_t pid = start(argv, log);
    int got = 0, kills = 0, next = 2000, idle_s = 0, status;

    rand_seed(&rand, 9);
    must(reader_new(brokers, p, &r, &err), &err, "reader");
    for (int i = 0; i < t->partitions; i++)
        must(reader_add(r, t->broker_name, i, 0, -1, &err), &err, "reader");
    while (got < RECORDS && idle_s < DEADLINE_S) {
        struct reader_msg m;
        bool end;

        must(reader_next(r, 1000, &m, &end, &err), &err, "read");
        idle_s = m.partition < 0 ? idle_s + 1 : 0;
        if (m.partition < 0 || m.value.data == NULL)
            continue;
        keep(rows, t->schema, view_of(m.value.data + 5, m.value.n - 5), "topic");
        got++;
        if (got >= next && kills < KILLS) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            pid = start(argv, log);
            kills++;
            next = got + 1000 + (int)rand_below(&rand, 4000);
        }
    }
    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fprintf(stderr, "SIGTERM: status %d, 0 expected\n", status);
    reader_free(r);
    if (got < RECORDS)
        fprintf(stderr, "%d of %d records came; nothing for %d s\n", got, RECORDS, DEADLINE_S);
    return got == RECORDS && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? kills : -1;
}

int main(int argc, char **argv)
{
    static char *want[RECORDS], *got[RECORDS];
    struct pipeline *p;
    struct bytes faults = BYTES_EMPTY;
    struct error err;
    const char *brokers = kafka_brokers(NULL);
    int kills, status, different = 0;

    if (argc != 4)
        return 2;
    must(pipeline_load(argv[1], &p, &faults, &err), &err, "pipeline");
    make_topics(p, brokers);
    {
        char *in = arena_printf(&arena, "%s/in.avro", argv[3]), *out = arena_printf(&arena, "%s/out.avro", argv[3]);
        char *log = arena_printf(&arena, "%s/stage.log", argv[3]);
        const char *quiet[] = {argv[2], argv[1], "customer", "--in", in, "--out", out, NULL};
        const char *live[] = {argv[2], argv[1], "customer", "--brokers", brokers, NULL};

        write_input(p, brokers, in);
        waitpid(start(quiet, log), &status, 0);
        read_file(want, out);
        kills = read_and_kill(got, p, brokers, live, log);
    }
    if (kills < 0)
        return 1;
    for (int i = 0; i < RECORDS; i++)
        if (want[i] == NULL || strcmp(want[i], got[i]) != 0) {
            if (different++ < 3)
                fprintf(stderr, "want %s\ngot  %s\n", want[i] ? want[i] : "(none)", got[i]);
        }
    printf("%d records, %d kills, %d different from the quiet run\n", RECORDS, kills, different);
    return different != 0 || kills != KILLS;
}
