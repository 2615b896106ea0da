/* One Socket.IO client over one WebSocket: handshake, pings, messages in and out. */
#ifndef CLIENT_H
#define CLIENT_H

#include "wire.h"

/* What is kept of each message, to know what it is and to read its stamp; the rest is counted. */
#define KEEP_BYTES 1024
#define FRAME_HEAD_MAX 96

enum role { HEADSET, VIEWER, DASHBOARD, IDLE, SLOW, ROLES };
enum state { CLOSED, CONNECTING, UPGRADING, OPENING, JOINING, READY };

struct client {
    int fd;
    uint16_t port; /* of its server */
    enum role role;
    enum state state;
    const char *token;
    const char *device_id; /* of a headset: itself; of a viewer: the headset it watches */
    bool wants_write;

    /* The message being read. */
    uint8_t header[WS_HEADER_MAX];
    size_t header_size;
    struct ws_header frame;
    uint64_t left;   /* bytes of its current WebSocket frame that are still to come */
    uint64_t length; /* bytes of it so far */
    char *kept;
    size_t kept_size;

    /* Small messages that did not fit into the socket. */
    uint8_t *waiting;
    size_t waiting_size;

    /* The video frame being sent: its own head, then the body all frames share. */
    uint8_t head[FRAME_HEAD_MAX];
    size_t head_size;
    size_t sent; /* of head and body */
    bool sending;
};

/* A whole message: `text` are its first bytes (at most KEEP_BYTES), `length` all of them. */
typedef void message_handler(struct client *client, const char *text, size_t size, uint64_t length);

struct wire {
    int epoll;
    uint8_t mask[4];
    message_handler *on_message;
    void (*on_closed)(struct client *client);
    /* All video frames of a run are the same, but for head and stamp. Already masked. */
    uint8_t *body;
    size_t body_size;
};

extern struct wire wire;

/* Make the body of frames whose base64 data has `frame_bytes` characters. */
void wire_make_body(size_t frame_bytes);
void client_connect(struct client *client);
/* Handle readiness of the socket: epoll's `events`. */
void client_ready(struct client *client, uint32_t events);
/* The client has all that its role needs. A slow one reads only by client_read from now on. */
void client_joined(struct client *client);
/* Read at most `budget` bytes; how many there were. */
size_t client_read(struct client *client, size_t budget);
void client_say(struct client *client, const char *text, size_t size);
/* Start a video frame with a stamp of now. False: the last one has not left yet, none is sent. */
bool client_send_frame(struct client *client);
void client_close(struct client *client);

#endif
