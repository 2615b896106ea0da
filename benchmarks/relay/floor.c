/* The floor: a relay that only reads and writes the bytes, as cheaply as plain sockets allow.
 *
 * It finds where messages end, keeps the newest frame of each headset, and sends it on at most
 * every 33 ms, unmasked (RFC 6455, 5.3) and framed once for all viewers. Nothing is parsed, checked,
 * counted or authenticated, there are no pings, and it understands just what load.c says. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define THROTTLE_NS (15 * NS_PER_S / 1000) /* 16 ms less the jitter of a steady source */
#define INTERVAL_NS (33 * NS_PER_S / 1000)
/* Room before a message for what its longer outgoing form needs. */
#define FRONT 64
#define SMALL_BYTES 4096
#define MAX_WAITING (4u << 20)

#define FRAME_IN "42[\"headset-frame\","
#define FRAME_OUT "42[\"on-headset-frame-updated\","
#define TELEMETRY_IN "42[\"device-telemetry\","
#define TELEMETRY_OUT "42[\"on-device-telemetry-updated\","
static const char UPGRADE[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    /* The answer to the key that load.c sends, which is RFC 6455's example. */
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char OPEN[] = "0{\"sid\":\"floor\",\"upgrades\":[],\"pingInterval\":25000,"
                           "\"pingTimeout\":20000,\"maxPayload\":4194304}";

struct bytes {
    uint8_t *at; /* FRONT bytes of room come before what is used */
    size_t room;
};

struct list {
    struct connection **of;
    int count;
};

struct connection {
    int fd;
    bool upgraded, wants_write;
    char device_id[80];
    struct bytes in;
    size_t in_size;
    uint8_t *waiting; /* what did not fit into the socket */
    size_t waiting_size, waiting_room;

    /* Of a headset. */
    struct list viewers;
    struct bytes slot; /* newest frame, with its WebSocket header */
    struct ws_header slot_header;
    bool slot_full, listed;
    uint64_t taken_ns, sent_ns;
    struct connection *next, *previous; /* headsets by the time of their last send */
};

static int epoll;
static struct list headsets, dashboards;
static struct connection *oldest, *newest;

static void append(struct list *list, struct connection *connection)
{
    list->of = realloc(list->of, (size_t)(list->count + 1) * sizeof(void *));
    if (!list->of)
        die("out of memory");
    list->of[list->count++] = connection;
}

static void forget(struct list *list, const struct connection *connection)
{
    for (int i = 0; i < list->count; i++)
        if (list->of[i] == connection)
            list->of[i--] = list->of[--list->count];
}

static void reserve(struct bytes *bytes, size_t room)
{
    if (bytes->room >= room)
        return;
    uint8_t *base = realloc(bytes->at ? bytes->at - FRONT : NULL, FRONT + room);
    if (!base)
        die("out of memory");
    bytes->at = base + FRONT;
    bytes->room = room;
}

/* --- out ---------------------------------------------------------------------------------- */

static void watch(struct connection *connection, bool wants_write)
{
    struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0),
                                .data.ptr = connection};
    if (wants_write != connection->wants_write)
        epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
    connection->wants_write = wants_write;
}

static void write_bytes(struct connection *connection, const uint8_t *bytes, size_t size)
{
    if (!connection->waiting_size) {
        const ssize_t sent = send(connection->fd, bytes, size, MSG_NOSIGNAL);
        if (sent == (ssize_t)size)
            return;
        /* A broken connection is closed where it is read. */
        if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
        }
    }
    if (connection->waiting_size + size > MAX_WAITING)
        return;
    if (connection->waiting_size + size > connection->waiting_room) {
        connection->waiting_room = 2 * (connection->waiting_size + size);
        connection->waiting = realloc(connection->waiting, connection->waiting_room);
        if (!connection->waiting)
            die("out of memory");
    }
    memcpy(connection->waiting + connection->waiting_size, bytes, size);
    connection->waiting_size += size;
    watch(connection, true);
}

static void write_more(struct connection *connection)
{
    const ssize_t sent =
        send(connection->fd, connection->waiting, connection->waiting_size, MSG_NOSIGNAL);
    if (sent > 0) {
        connection->waiting_size -= (size_t)sent;
        memmove(connection->waiting, connection->waiting + sent, connection->waiting_size);
    }
    watch(connection, connection->waiting_size > 0);
}

static void say(struct connection *connection, const char *text)
{
    uint8_t message[512];
    const size_t size = strlen(text), header = ws_write_header(message, WS_TEXT, size, NULL);
    memcpy(message + header, text, size);
    write_bytes(connection, message, header + size);
}

/* Turn a client's message into a server's, in place: unmasked, and `out` instead of `in`.
 * Where it starts and, in `total`, its size. */
static uint8_t *rewrite(uint8_t *message, const struct ws_header *header, const char *in,
                        const char *out, size_t *total)
{
    uint8_t head[WS_HEADER_MAX];
    const size_t in_size = strlen(in), out_size = strlen(out);
    uint8_t *payload = message + header->size;
    const uint64_t length = header->length - in_size + out_size;
    ws_mask(payload + in_size, header->length - in_size, header->mask, in_size);
    const size_t head_size = ws_write_header(head, WS_TEXT, length, NULL);
    uint8_t *start = payload + in_size - out_size - head_size;
    memcpy(start, head, head_size);
    memcpy(start + head_size, out, out_size);
    *total = head_size + length;
    return start;
}

/* --- frames ------------------------------------------------------------------------------- */

static void unlist(struct connection *headset)
{
    if (!headset->listed)
        return;
    *(headset->previous ? &headset->previous->next : &oldest) = headset->next;
    *(headset->next ? &headset->next->previous : &newest) = headset->previous;
    headset->listed = false;
}

static void send_slot(struct connection *headset, uint64_t now)
{
    size_t total;
    const uint8_t *start =
        rewrite(headset->slot.at, &headset->slot_header, FRAME_IN, FRAME_OUT, &total);
    for (int i = 0; i < headset->viewers.count; i++)
        if (!headset->viewers.of[i]->waiting_size)
            write_bytes(headset->viewers.of[i], start, total);
    headset->slot_full = false;
    headset->sent_ns = now;
    unlist(headset);
    headset->listed = true;
    headset->next = NULL;
    headset->previous = newest;
    *(newest ? &newest->next : &oldest) = headset;
    newest = headset;
}

/* Send what has waited for its interval. When to look again. */
static uint64_t send_due(uint64_t now)
{
    while (oldest && oldest->sent_ns + INTERVAL_NS <= now) {
        struct connection *headset = oldest;
        if (headset->slot_full)
            send_slot(headset, now);
        else
            unlist(headset);
    }
    return oldest ? oldest->sent_ns + INTERVAL_NS : now + NS_PER_S;
}

/* A whole frame is the first `total` bytes of what was read: its buffer becomes the slot. */
static void take_frame(struct connection *headset, const struct ws_header *header, size_t total)
{
    const uint64_t now = now_ns();
    if (now - headset->taken_ns < THROTTLE_NS || !headset->viewers.count) {
        headset->in_size -= total;
        memmove(headset->in.at, headset->in.at + total, headset->in_size);
        return;
    }
    const struct bytes frame = headset->in;
    headset->taken_ns = now;
    headset->in = headset->slot;
    headset->in_size -= total;
    reserve(&headset->in, frame.room);
    memcpy(headset->in.at, frame.at + total, headset->in_size);
    headset->slot = frame;
    headset->slot_header = *header;
    headset->slot_full = true;
    if (!headset->listed || headset->sent_ns + INTERVAL_NS <= now)
        send_slot(headset, now);
}

/* --- in ----------------------------------------------------------------------------------- */

static void copy_id(char *to, const char *text)
{
    /* 42["event","ID"] */
    const char *start = strchr(text, ',');
    if (!start || sscanf(start, ",\"%79[^\"]", to) != 1)
        to[0] = 0;
}

/* A small message; `text` ends with a 0. */
static void take_text(struct connection *connection, const char *text)
{
    if (strncmp(text, "40", 2) == 0) {
        say(connection, "40{\"sid\":\"floor\"}");
    } else if (strncmp(text, "42[\"headset-identify\"", 21) == 0) {
        copy_id(connection->device_id, text);
        append(&headsets, connection);
        say(connection, "42[\"on-headset-connected\"]");
    } else if (strncmp(text, "42[\"tablet-connect-headset\"", 27) == 0) {
        char device_id[80];
        copy_id(device_id, text);
        for (int i = 0; i < headsets.count; i++)
            if (strcmp(headsets.of[i]->device_id, device_id) == 0)
                append(&headsets.of[i]->viewers, connection);
        say(connection, "42[\"on-headset-connected\"]");
    } else if (strncmp(text, "42[\"dashboard-subscribe\"", 24) == 0) {
        append(&dashboards, connection);
        say(connection, "42[\"on-fleet-status-updated\",[]]");
    }
}

static bool says(const uint8_t *payload, const struct ws_header *header, const char *text)
{
    size_t i = 0;
    while (text[i] && i < header->length && (payload[i] ^ header->mask[i % 4]) == text[i])
        i++;
    return !text[i];
}

static void take_message(struct connection *connection, const struct ws_header *header, size_t total)
{
    uint8_t *message = connection->in.at, *payload = message + header->size;
    if (says(payload, header, FRAME_IN)) {
        take_frame(connection, header, total);
        return;
    }
    /* What follows the message: the rewriting writes only before it. */
    const size_t rest = connection->in_size - total;
    if (says(payload, header, TELEMETRY_IN)) {
        size_t size;
        const uint8_t *start = rewrite(message, header, TELEMETRY_IN, TELEMETRY_OUT, &size);
        for (int i = 0; i < dashboards.count; i++)
            write_bytes(dashboards.of[i], start, size);
    } else if (header->length < SMALL_BYTES) {
        char text[SMALL_BYTES];
        ws_mask(payload, header->length, header->mask, 0);
        memcpy(text, payload, header->length);
        text[header->length] = 0;
        take_text(connection, text);
    }
    memmove(message, message + total, rest);
    connection->in_size = rest;
}

static void take_upgrade(struct connection *connection)
{
    const uint8_t *end = memmem(connection->in.at, connection->in_size, "\r\n\r\n", 4);
    if (!end)
        return;
    connection->upgraded = true;
    connection->in_size = 0; /* a client says nothing before it has the answer */
    write_bytes(connection, (const uint8_t *)UPGRADE, sizeof UPGRADE - 1);
    say(connection, OPEN);
}

static void take(struct connection *connection)
{
    struct ws_header header;
    if (!connection->upgraded)
        take_upgrade(connection);
    while (connection->upgraded &&
           ws_read_header(connection->in.at, connection->in_size, &header)) {
        const size_t total = header.size + header.length;
        if (connection->in_size < total) {
            reserve(&connection->in, 2 * total);
            return;
        }
        take_message(connection, &header, total);
    }
}

static void end(struct connection *connection)
{
    forget(&headsets, connection);
    forget(&dashboards, connection);
    for (int i = 0; i < headsets.count; i++)
        forget(&headsets.of[i]->viewers, connection);
    unlist(connection);
    close(connection->fd);
    if (connection->in.at)
        free(connection->in.at - FRONT);
    if (connection->slot.at)
        free(connection->slot.at - FRONT);
    free(connection->waiting);
    free(connection->viewers.of);
    free(connection);
}

static void ready(struct connection *connection, uint32_t events)
{
    if (events & EPOLLOUT)
        write_more(connection);
    if (!(events & ~(uint32_t)EPOLLOUT))
        return;
    const ssize_t got = recv(connection->fd, connection->in.at + connection->in_size,
                             connection->in.room - connection->in_size, 0);
    if (got > 0) {
        connection->in_size += (size_t)got;
        take(connection);
    } else if (got == 0 || errno != EAGAIN) {
        end(connection);
    }
}

static void accept_all(int listener)
{
    const int on = 1;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection)
            die("out of memory");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        connection->fd = fd;
        reserve(&connection->in, SMALL_BYTES);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_on(uint16_t port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("port %u: %s", port, strerror(errno));
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
    if (argc != 2)
        die("usage: floor PORT");
    raise_file_limit();
    const int listener = listen_on((uint16_t)atoi(argv[1]));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        const uint64_t now = now_ns(), next = send_due(now);
        const struct timespec timeout = timespec_of(next > now ? next - now : 0);
        const int count = epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                ready(events[i].data.ptr, events[i].events);
            else
                accept_all(listener);
        }
    }
}
