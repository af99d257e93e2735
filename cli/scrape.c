#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/cli.h"

/* GET path of 127.0.0.1:port into buf (terminated); the HTTP status, 0: no answer. */
static int get(int port, const char *path, char *buf, size_t cap)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const struct timeval half_a_second = {0, 500000};
    char ask[128];
    size_t n = 0;
    ssize_t got;
    int status = 0, fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        return 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &half_a_second, sizeof(half_a_second));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &half_a_second, sizeof(half_a_second));
    snprintf(ask, sizeof(ask), "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && write(fd, ask, strlen(ask)) == (ssize_t)strlen(ask))
        while (n < cap - 1 && (got = read(fd, buf + n, cap - 1 - n)) > 0)
            n += (size_t)got;
    close(fd);
    buf[n] = '\0';
    if (sscanf(buf, "HTTP/1.%*d %d", &status) != 1)
        return 0;
    return status;
}

static const char *body_of(const char *answer)
{
    const char *body = strstr(answer, "\r\n\r\n");

    return body == NULL ? "" : body + 4;
}

/* The value of the first line that begins with `name` and holds `label`; -1: none. */
static double value_of(const char *page, const char *name, const char *label)
{
    for (const char *line = page; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n'), *space;
        size_t n = end == NULL ? strlen(line) : (size_t)(end - line);

        if (strncmp(line, name, strlen(name)) == 0 && memmem(line, n, label, strlen(label)) != NULL &&
            (space = memrchr(line, ' ', n)) != NULL)
            return strtod(space + 1, NULL);
        line = end == NULL ? NULL : end + 1;
    }
    return -1;
}

void scrape_worker(const char *http_file, struct scrape *ret)
{
    static char page[256 * 1024];
    FILE *f = fopen(http_file, "r");
    int port = 0, status;

    *ret = (struct scrape){.taken = -1, .lag = -1, .event_time_s = -1};
    snprintf(ret->why, sizeof(ret->why), "starting");
    if (f == NULL)
        return;
    if (fscanf(f, "%d", &port) != 1)
        port = 0;
    fclose(f);
    if (port < 1 || port > 65535 || (status = get(port, "/ready", page, sizeof(page))) == 0)
        return;
    ret->answers = true;
    ret->port = port;
    ret->ready = status == 200;
    snprintf(ret->why, sizeof(ret->why), "%.*s", (int)strcspn(body_of(page), "\r\n"), body_of(page));
    if (get(port, "/metrics", page, sizeof(page)) != 200)
        return;
    ret->taken = value_of(page, "millrace_records_total{", "outcome=\"taken\"");
    ret->lag = value_of(page, "millrace_lag_records{", "");
    ret->event_time_s = value_of(page, "millrace_event_time_seconds{", "");
}
