#define _GNU_SOURCE
#include "ops/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128
#define HOST_CHARS_MAX 255

struct address {
    char host[HOST_CHARS_MAX + 1]; /* "" is every interface */
    char port[6];
};

/* [host]:port or host:port; what stands after the last colon is the port. */
static bool parse(const char *text, struct address *ret)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    long port = 0;

    if (colon == NULL || digits == 0 || digits > 5 || colon[1 + digits] != '\0')
        return false;
    for (size_t i = 0; i < digits; i++)
        port = port * 10 + (colon[1 + i] - '0');
    if (port > 65535)
        return false;
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    } else if (memchr(text, ':', n) || memchr(text, '[', n)) {
        return false; /* IPv6 without brackets: which colon begins the port? */
    }
    if (n > HOST_CHARS_MAX)
        return false;
    memcpy(ret->host, text, n);
    ret->host[n] = '\0';
    memcpy(ret->port, colon + 1, digits + 1);
    return true;
}

static const char *hint(int number)
{
    switch (number) {
    case EADDRINUSE:
        return "the port is in use by another program; stop that one, or give another --http address (port 0 "
               "takes a free one)";
    case EACCES:
        return "no permission; ports below 1024 need it: give a larger one";
    case EADDRNOTAVAIL:
        return "no interface of this machine has that address; give one of its own, or \":PORT\" for all";
    case EMFILE:
    case ENFILE:
        return "too many open files; raise the limit (ulimit -n)";
    default:
        return NULL;
    }
}

static enum status refused(struct error *err, const char *text, int number)
{
    const char *h = hint(number);

    return err_set(err, ERR_FATAL, "cannot listen on \"%s\": %s", text, h ? h : strerror(number));
}

/* Returns the descriptor, or -1 with errno. */
static int open_one(int family, const struct sockaddr *to, socklen_t n)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1, off = 0, saved;

    if (fd < 0)
        return -1;
    /* A restart must not wait for the last process's closed connections. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, to, n) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int open_every(const char *port)
{
    in_port_t p = htons((in_port_t)atoi(port));
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = p, .sin6_addr = in6addr_any};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = p};
    int fd = open_one(AF_INET6, (const struct sockaddr *)&six, sizeof(six));

    if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        fd = open_one(AF_INET, (const struct sockaddr *)&four, sizeof(four));
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_storage s;
    socklen_t n = sizeof(s);

    if (getsockname(fd, (struct sockaddr *)&s, &n) != 0)
        return 0;
    return ntohs(s.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&s)->sin6_port
                                         : ((struct sockaddr_in *)&s)->sin_port);
}

enum status listen_open(const char *address, int *ret_fd, int *ret_port, struct error *err)
{
    struct addrinfo ask = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    struct address a;
    int fd, code;

    if (!parse(address, &a))
        return err_set(err, ERR_FATAL,
                       "\"%s\" is no address to listen on: expected \":8080\", \"127.0.0.1:8080\" or "
                       "\"[::1]:8080\" (port 0 takes a free one)",
                       address);
    if (a.host[0] == '\0') {
        fd = open_every(a.port);
    } else {
        code = getaddrinfo(a.host, a.port, &ask, &found);
        if (code != 0)
            return err_set(err, ERR_FATAL, "cannot listen on \"%s\": %s; give an address of this machine", address,
                           gai_strerror(code));
        fd = open_one(found->ai_family, found->ai_addr, found->ai_addrlen);
        code = errno;
        freeaddrinfo(found);
        errno = code;
    }
    if (fd < 0)
        return refused(err, address, errno);
    *ret_fd = fd;
    *ret_port = port_of(fd);
    return OK;
}
