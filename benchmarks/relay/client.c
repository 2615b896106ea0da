#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_BYTES 65536
/* Enough for the head of a video frame; its rest is taken from the socket without a copy. */
#define READ_HEAD_BYTES 256
#define DISCARD_FROM 2048

/* JPEGs begin so in base64. */
static const char FRAME_START[] = "42[\"headset-frame\",\"/9j/4AAQSkZJRgAB";
static const char FRAME_END[] = "\"]";
static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/* Characters of data in FRAME_START. */
#define DATA_IN_START 16

struct wire wire;
static uint8_t buffer[READ_BYTES];
static uint64_t frame_length;

void wire_make_body(size_t frame_bytes)
{
    const size_t head = sizeof FRAME_START - 1 + STAMP_CHARS;
    const size_t data = frame_bytes - DATA_IN_START - STAMP_CHARS;
    wire.body_size = data + sizeof FRAME_END - 1;
    wire.body = malloc(wire.body_size);
    if (!wire.body)
        die("out of memory");
    uint32_t random = 1;
    for (size_t i = 0; i < data; i++) {
        random = random * 1664525 + 1013904223;
        wire.body[i] = (uint8_t)BASE64[random >> 26];
    }
    memcpy(wire.body + data, FRAME_END, sizeof FRAME_END - 1);
    ws_mask(wire.body, wire.body_size, wire.mask, head);
    frame_length = head + wire.body_size;
}

static void watch(struct client *client, bool wants_write)
{
    /* Slow readers read when their time has come, not when there is something. */
    const uint32_t readable = client->role == SLOW && client->state == READY ? 0 : EPOLLIN;
    struct epoll_event event = {
        .events = readable | (wants_write ? EPOLLOUT : 0),
        .data.ptr = client,
    };
    client->wants_write = wants_write;
    if (epoll_ctl(wire.epoll, EPOLL_CTL_MOD, client->fd, &event))
        die("epoll_ctl: %s", strerror(errno));
}

void client_close(struct client *client)
{
    if (client->state == CLOSED)
        return;
    close(client->fd);
    client->state = CLOSED;
    wire.on_closed(client);
}

void client_connect(struct client *client)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(client->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const int on = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        die("socket: %s (raise ulimit -n)", strerror(errno));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(client->fd, (const struct sockaddr *)&address, sizeof address) &&
        errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    client->state = CONNECTING;
    client->wants_write = true;
    if (!client->kept)
        client->kept = malloc(KEEP_BYTES);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = client};
    if (epoll_ctl(wire.epoll, EPOLL_CTL_ADD, client->fd, &event))
        die("epoll_ctl: %s", strerror(errno));
}

/* --- out ---------------------------------------------------------------------------------- */

static void flush(struct client *client)
{
    if (client->sending) {
        struct iovec parts[2];
        int count = 0;
        if (client->sent < client->head_size)
            parts[count++] = (struct iovec){client->head + client->sent,
                                            client->head_size - client->sent};
        const size_t body_sent =
            client->sent > client->head_size ? client->sent - client->head_size : 0;
        parts[count++] = (struct iovec){wire.body + body_sent, wire.body_size - body_sent};
        const struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        const ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            client_close(client);
            return;
        }
        client->sent += sent > 0 ? (size_t)sent : 0;
        client->sending = client->sent < client->head_size + wire.body_size;
    }
    if (!client->sending && client->waiting_size) {
        const ssize_t sent =
            send(client->fd, client->waiting, client->waiting_size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            client_close(client);
            return;
        }
        if (sent > 0) {
            client->waiting_size -= (size_t)sent;
            memmove(client->waiting, client->waiting + sent, client->waiting_size);
        }
    }
    const bool wants_write = client->sending || client->waiting_size;
    if (wants_write != client->wants_write)
        watch(client, wants_write);
}

static void put(struct client *client, const void *bytes, size_t size)
{
    uint8_t *waiting = realloc(client->waiting, client->waiting_size + size);
    if (!waiting)
        die("out of memory");
    memcpy(waiting + client->waiting_size, bytes, size);
    client->waiting = waiting;
    client->waiting_size += size;
    flush(client);
}

void client_say(struct client *client, const char *text, size_t size)
{
    uint8_t message[WS_HEADER_MAX + 4096];
    if (size > 4096)
        die("message of %zu bytes is too long", size);
    const size_t header = ws_write_header(message, WS_TEXT, size, wire.mask);
    memcpy(message + header, text, size);
    ws_mask(message + header, size, wire.mask, 0);
    put(client, message, header + size);
}

bool client_send_frame(struct client *client)
{
    if (client->sending || client->waiting_size)
        return false;
    const size_t start = sizeof FRAME_START - 1;
    const size_t header = ws_write_header(client->head, WS_TEXT, frame_length, wire.mask);
    uint8_t *text = client->head + header;
    memcpy(text, FRAME_START, start);
    write_stamp((char *)text + start, now_ns());
    ws_mask(text, start + STAMP_CHARS, wire.mask, 0);
    client->head_size = header + start + STAMP_CHARS;
    client->sent = 0;
    client->sending = true;
    flush(client);
    return true;
}

/* --- in ----------------------------------------------------------------------------------- */

static void upgrade(struct client *client)
{
    char request[256];
    const int size = snprintf(request, sizeof request,
                              "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
                              "Host: 127.0.0.1:%u\r\nConnection: Upgrade\r\n"
                              "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                              client->port);
    client->state = UPGRADING;
    put(client, request, (size_t)size);
}

/* Take the answer to the upgrade. How many of the bytes it was. */
static size_t take_upgrade(struct client *client, const uint8_t *bytes, size_t size)
{
    size_t used = 0;
    while (used < size && client->state == UPGRADING) {
        if (client->kept_size >= KEEP_BYTES)
            die("the server's answer to the upgrade is too long");
        client->kept[client->kept_size++] = (char)bytes[used++];
        if (client->kept_size < 4 ||
            memcmp(client->kept + client->kept_size - 4, "\r\n\r\n", 4) != 0)
            continue;
        if (memcmp(client->kept, "HTTP/1.1 101", 12) != 0)
            die("no WebSocket: %.60s", client->kept);
        client->state = OPENING;
        client->kept_size = 0;
    }
    return used;
}

static void end_frame(struct client *client)
{
    if (client->frame.opcode == WS_CLOSE) {
        client_close(client);
        return;
    }
    /* Pings of the WebSocket itself: servers of this job send Engine.IO's instead. */
    if (client->frame.opcode > WS_CLOSE || !client->frame.fin)
        return;
    const uint64_t length = client->length;
    const size_t size = client->kept_size;
    client->length = client->kept_size = 0;
    wire.on_message(client, client->kept, size, length);
}

static void take(struct client *client, const uint8_t *bytes, size_t size)
{
    if (client->state == UPGRADING) {
        const size_t used = take_upgrade(client, bytes, size);
        bytes += used;
        size -= used;
    }
    while (size && client->state >= OPENING) {
        if (!client->left) {
            client->header[client->header_size++] = *bytes++;
            size--;
            if (!ws_read_header(client->header, client->header_size, &client->frame))
                continue;
            client->header_size = 0;
            client->left = client->frame.length;
            if (!client->left)
                end_frame(client);
            continue;
        }
        const size_t part = size < client->left ? size : (size_t)client->left;
        const size_t room = KEEP_BYTES - client->kept_size;
        const size_t keep = part < room ? part : room;
        memcpy(client->kept + client->kept_size, bytes, keep);
        client->kept_size += keep;
        client->length += part;
        client->left -= part;
        bytes += part;
        size -= part;
        if (!client->left)
            end_frame(client);
    }
}

/* Take bytes of a long message out of the socket without copying them: they are only counted. */
static ssize_t discard(struct client *client, size_t budget)
{
    const size_t most = client->left < budget ? (size_t)client->left : budget;
    const ssize_t got = recv(client->fd, NULL, most, MSG_TRUNC);
    if (got > 0) {
        client->left -= (uint64_t)got;
        client->length += (uint64_t)got;
        if (!client->left)
            end_frame(client);
    }
    return got;
}

size_t client_read(struct client *client, size_t budget)
{
    size_t total = 0;
    while (total < budget && client->state != CLOSED) {
        size_t most = client->role == VIEWER ? READ_HEAD_BYTES : READ_BYTES;
        ssize_t got;
        if (most > budget - total)
            most = budget - total;
        if (client->left > DISCARD_FROM && client->kept_size >= READ_HEAD_BYTES / 2) {
            got = discard(client, most = budget - total);
        } else {
            got = recv(client->fd, buffer, most, 0);
            if (got > 0)
                take(client, buffer, (size_t)got);
        }
        if (got < 0 && errno == EAGAIN)
            break;
        if (got <= 0) {
            client_close(client);
            break;
        }
        total += (size_t)got;
        /* Between messages and nothing more read than there was: epoll says when there is. */
        if (!client->left && (size_t)got < most)
            break;
    }
    return total;
}

void client_joined(struct client *client)
{
    client->state = READY;
    watch(client, client->wants_write);
}

void client_ready(struct client *client, uint32_t events)
{
    if (client->state == CLOSED)
        return;
    if (client->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error)
            die("connect: %s", strerror(error));
        if (events & EPOLLOUT)
            upgrade(client);
        return;
    }
    if (events & EPOLLOUT)
        flush(client);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        client_read(client, 1 << 20);
}
