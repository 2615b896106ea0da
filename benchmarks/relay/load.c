/* Plays headsets, tablets and dashboards against a server, and prints what it measured as JSON.
 *
 * One thread, epoll, real sockets and masks. Messages leave evenly in time: message k of a stream
 * of R a second over N clients is due at k / (R * N), from client k mod N. Each carries its
 * sender's monotonic clock, so that whoever gets it knows its age. A headset whose last frame has
 * not left yet skips one, as a camera does. */
#define _GNU_SOURCE
#include "client.h"
#include "measure.h"
#include "options.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define EVENTS 256
#define SETUP_TIMEOUT_S 120
#define OTHERS_HEAR_NS (NS_PER_S / 2)
#define SLOW_TICK_NS (NS_PER_S / 100)

static const char FRAME[] = "42[\"on-headset-frame-updated\",\"/9j/4AAQSkZJRgAB";
static const char TELEMETRY[] = "42[\"on-device-telemetry-updated\",";
static const char STAMP_KEY[] = "\"sentNs\":\"";
static const char *const ROLE_NAMES[ROLES] = {"headset", "tablet", "dashboard", "headset", "tablet"};

static struct client *clients;
static int client_count, first_of[ROLES];

static struct {
    struct samples frames, telemetry, slow;
    uint64_t frames_sent, frames_skipped, telemetry_sent, late_ns;
} measured;
/* Of the whole run, its start included. */
static int connecting, connected, closed, errors;
static char first_error[200];
static uint64_t last_connected_ns;
static bool running;

/* --- messages ----------------------------------------------------------------------------- */

static bool starts(const char *text, size_t size, const char *start)
{
    const size_t length = strlen(start);
    return size >= length && memcmp(text, start, length) == 0;
}

static void say(struct client *client, const char *format, const char *value)
{
    char text[2048];
    const int size = snprintf(text, sizeof text, format, value);
    client_say(client, text, (size_t)size);
}

static void join(struct client *client)
{
    client->state = JOINING;
    connected++;
    last_connected_ns = now_ns();
    if (client->role == HEADSET)
        say(client, "42[\"headset-identify\",\"%s\"]", client->device_id);
    else if (client->role == VIEWER || client->role == SLOW)
        say(client, "42[\"tablet-connect-headset\",\"%s\"]", client->device_id);
    else if (client->role == DASHBOARD)
        say(client, "%s", "42[\"dashboard-subscribe\"]");
}

static bool has_joined(const struct client *client, const char *text, size_t size)
{
    if (client->role == IDLE)
        return true;
    return starts(text, size, client->role == DASHBOARD ? "42[\"on-fleet-status-updated\""
                                                         : "42[\"on-headset-connected\"");
}

static void setup(struct client *client, const char *text, size_t size)
{
    if (client->state == OPENING && starts(text, size, "0{"))
        say(client, "40{\"token\":\"%s\"}", client->token);
    else if (starts(text, size, "44"))
        die("the server refuses %s: %.*s", client->device_id, (int)size, text);
    else if (client->state == OPENING && starts(text, size, "40"))
        join(client);
    if (client->state == JOINING && has_joined(client, text, size)) {
        client_joined(client);
        connecting--;
    }
}

static void take_frame(struct client *client, const char *text, size_t size, uint64_t length)
{
    const size_t start = sizeof FRAME - 1;
    const uint64_t expected = sizeof "42[\"on-headset-frame-updated\",\"\"]" - 1 +
                              options.frame_bytes;
    const uint64_t sent_at = size >= start + STAMP_CHARS ? read_stamp(text + start) : 0;
    if (!sent_at || length != expected)
        die("a frame arrived damaged: %llu bytes instead of %llu", (unsigned long long)length,
            (unsigned long long)expected);
    samples_add(client->role == SLOW ? &measured.slow : &measured.frames, now_ns() - sent_at);
}

static void take_telemetry(const char *text, size_t size)
{
    const char *stamp = memmem(text, size, STAMP_KEY, sizeof STAMP_KEY - 1);
    /* Devices also change without telemetry. */
    if (!stamp || (size_t)(stamp - text) + sizeof STAMP_KEY - 1 + STAMP_CHARS > size)
        return;
    const uint64_t sent_at = read_stamp(stamp + sizeof STAMP_KEY - 1);
    if (sent_at)
        samples_add(&measured.telemetry, now_ns() - sent_at);
}

static void on_message(struct client *client, const char *text, size_t size, uint64_t length)
{
    if (size == 1 && text[0] == '2')
        client_say(client, "3", 1);
    else if (starts(text, size, "42[\"error\"")) {
        if (!errors++)
            snprintf(first_error, sizeof first_error, "%.*s",
                     size < 180 ? (int)size : 180, text);
    } else if (client->state != READY)
        setup(client, text, size);
    else if (running && starts(text, size, FRAME))
        take_frame(client, text, size, length);
    else if (running && starts(text, size, TELEMETRY))
        take_telemetry(text, size);
}

static void on_closed(struct client *client)
{
    if (!running)
        die("the server closed the connection of %s", client->device_id);
    closed++;
}

/* --- time --------------------------------------------------------------------------------- */

struct stream {
    uint64_t next_ns, step_ns, turn;
    void (*send)(struct client *client);
};

static void send_frame(struct client *client)
{
    if (client_send_frame(client))
        measured.frames_sent++;
    else
        measured.frames_skipped++;
}

static void send_telemetry(struct client *client)
{
    char text[1024], stamp[STAMP_CHARS + 1] = "";
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    write_stamp(stamp, now_ns());
    const long long ms = (long long)time.tv_sec * 1000 + time.tv_nsec / 1000000;
    const int size = snprintf(
        text, sizeof text,
        "42[\"device-telemetry\",{\"sentNs\":\"%s\",\"deviceId\":\"%s\",\"deviceName\":\"Quest 3\","
        "\"timestamp\":%lld,\"batteryLevel\":0.%02lld,\"batteryState\":2,"
        "\"storageUsedBytes\":52613349376,\"storageTotalBytes\":128849018880,"
        "\"wifiSignalLevel\":-52,\"wifiSSID\":\"lab\",\"appVersion\":\"2.4.1\","
        "\"osVersion\":\"Android 12\",\"sdkVersion\":\"60.0\",\"leftHandTracked\":true,"
        "\"rightHandTracked\":true,\"bodyTracked\":false,\"trackingConfidence\":0.93,"
        "\"isRecording\":false,\"sessionDuration\":0,\"productiveTime\":3600,\"frameCount\":%lld,"
        "\"droppedFrames\":3,\"cpuTemperature\":41.5,\"gpuTemperature\":43.25,"
        "\"memoryUsedMB\":3120,\"memoryTotalMB\":8192}]",
        stamp, client->device_id, ms, 10 + ms % 90, ms % 100000);
    client_say(client, text, (size_t)size);
    measured.telemetry_sent++;
}

static void send_due(struct stream *stream, uint64_t now)
{
    /* Not too many at once: what arrives meanwhile must be read, or it would seem late. */
    for (int sent = 0; stream->next_ns <= now && sent < 16; sent++) {
        struct client *client = &clients[stream->turn++ % (uint64_t)options.count[HEADSET]];
        if (now - stream->next_ns > measured.late_ns)
            measured.late_ns = now - stream->next_ns;
        if (client->state == READY)
            stream->send(client);
        stream->next_ns += stream->step_ns;
    }
}

static void read_slowly(uint64_t now)
{
    static uint64_t next_ns;
    if (now < next_ns || !options.count[SLOW])
        return;
    /* What is not read in its time is not caught up on: a link has no memory. */
    next_ns = now + SLOW_TICK_NS;
    const size_t budget = (size_t)(options.slow_bytes_per_s * SLOW_TICK_NS / NS_PER_S);
    for (int i = 0; i < options.count[SLOW]; i++) {
        struct client *client = &clients[first_of[SLOW] + i];
        if (client->state == READY)
            client_read(client, budget);
    }
}

/* Handle what comes until `until`; at most `wait_ns` when nothing does. */
static void poll_once(uint64_t wait_ns)
{
    struct epoll_event events[EVENTS];
    const struct timespec wait = timespec_of(wait_ns);
    const int count = epoll_pwait2(wire.epoll, events, EVENTS, &wait, NULL);
    if (count < 0 && errno != EINTR)
        die("epoll_pwait2: %s", strerror(errno));
    for (int i = 0; i < count; i++)
        client_ready(events[i].data.ptr, events[i].events);
}

static void play(struct stream *streams, int count, uint64_t until)
{
    for (uint64_t now = now_ns(); now < until; now = now_ns()) {
        uint64_t next = until;
        for (int i = 0; i < count; i++) {
            send_due(&streams[i], now);
            if (streams[i].next_ns < next)
                next = streams[i].next_ns;
        }
        read_slowly(now);
        if (options.count[SLOW] && next > now + SLOW_TICK_NS / 4)
            next = now + SLOW_TICK_NS / 4;
        poll_once(next > now ? next - now : 0);
    }
}

/* Which server a client of this role and number connects to; see options.h. */
static int server_of(enum role role, int number)
{
    const int all = options.servers;
    const int own = options.headset_servers ? options.headset_servers : all;
    switch (role) {
    case HEADSET: return number % own;
    case VIEWER:
    case SLOW: return (number % options.count[HEADSET] % own + options.viewer_shift) % all;
    case DASHBOARD: return all - 1 - number % all;
    default: return number % all;
    }
}

/* --- the run ------------------------------------------------------------------------------ */

static void connect_role(enum role role)
{
    const int first = first_of[role], last = first + options.count[role];
    const uint64_t until = now_ns() + SETUP_TIMEOUT_S * NS_PER_S;
    int next = first;
    while (next < last || connecting) {
        for (; next < last && connecting < options.inflight; next++, connecting++)
            client_connect(&clients[next]);
        poll_once(NS_PER_S / 10);
        if (now_ns() > until)
            die("%d of %d %ss are not ready after %d s", connecting + last - next,
                options.count[role], ROLE_NAMES[role], SETUP_TIMEOUT_S);
    }
}

/* Lines of the token file: "ROLE DEVICE_ID TOKEN". Clients take those of their role in order. */
static void load_tokens(void)
{
    static char role_name[16], device_id[80], token[1024];
    FILE *file = fopen(options.tokens, "r");
    if (!file)
        die("cannot read %s: %s", options.tokens, strerror(errno));
    int given[ROLES] = {0};
    while (fscanf(file, "%15s %79s %1023s", role_name, device_id, token) == 3)
        for (int role = 0; role < ROLES; role++) {
            if (strcmp(role_name, ROLE_NAMES[role]) || given[role] == options.count[role])
                continue;
            struct client *client = &clients[first_of[role] + given[role]++];
            client->token = strdup(token);
            client->device_id = strdup(device_id);
            break;
        }
    fclose(file);
    for (int role = 0; role < ROLES; role++) {
        if (given[role] < options.count[role])
            die("%s has %d tokens too few for %ss", options.tokens,
                options.count[role] - given[role], ROLE_NAMES[role]);
        for (int i = 0; i < options.count[role]; i++) {
            struct client *client = &clients[first_of[role] + i];
            client->role = (enum role)role;
            client->port = options.ports[server_of(client->role, i)];
            if (role == VIEWER || role == SLOW)
                client->device_id = clients[i % options.count[HEADSET]].device_id;
        }
    }
}

static int start_streams(struct stream *streams)
{
    const double headsets = options.count[HEADSET], ns = (double)NS_PER_S;
    int count = 0;
    if (options.fps > 0)
        streams[count++] = (struct stream){.next_ns = now_ns(), .send = send_frame,
                                           .step_ns = (uint64_t)(ns / options.fps / headsets)};
    if (options.telemetry_hz > 0)
        streams[count++] =
            (struct stream){.next_ns = now_ns(), .send = send_telemetry,
                            .step_ns = (uint64_t)(ns / options.telemetry_hz / headsets)};
    return count;
}

static double own_cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void run(void)
{
    const long ticks = sysconf(_SC_CLK_TCK);
    const long rss_start = status_kb(options.pid, "VmRSS");
    const double cpu_before = cpu_seconds(options.pid, ticks);
    const double core_before = core_busy_seconds(options.core, ticks);
    const uint64_t connect_start = now_ns();
    for (int role = 0; role < ROLES; role++) {
        connect_role((enum role)role);
        /* Other servers hear of the headsets a moment later. */
        if (role == HEADSET && options.servers > 1)
            play(NULL, 0, now_ns() + OTHERS_HEAR_NS);
    }
    const double connect_s = (double)(last_connected_ns - connect_start) / (double)NS_PER_S;
    const double connect_cpu_s = cpu_seconds(options.pid, ticks) - cpu_before;
    struct stream streams[2];
    const int stream_count = start_streams(streams);
    running = true;
    play(streams, stream_count, now_ns() + (uint64_t)(options.warmup_s * (double)NS_PER_S));
    memset(&measured, 0, sizeof measured);
    const double cpu = cpu_seconds(options.pid, ticks), own_cpu = own_cpu_seconds();
    const long rss_ready = status_kb(options.pid, "VmRSS");
    if (options.announce) {
        puts("{\"measuring\": true}");
        fflush(stdout);
    }
    const uint64_t start = now_ns();
    play(streams, stream_count, start + (uint64_t)(options.seconds * (double)NS_PER_S));
    const double window_s = (double)(now_ns() - start) / (double)NS_PER_S;
    printf("{\"window_s\": %.3f, \"cpu_s\": %.3f, \"load_cpu_s\": %.3f, ", window_s,
           cpu_seconds(options.pid, ticks) - cpu, own_cpu_seconds() - own_cpu);
    /* What the server's core did in all this time that the server did not do. */
    printf("\"whole_s\": %.3f, \"others_s\": %.3f, ",
           (double)(now_ns() - connect_start) / (double)NS_PER_S,
           core_busy_seconds(options.core, ticks) - core_before -
               (cpu_seconds(options.pid, ticks) - cpu_before));
    printf("\"rss_start_kb\": %ld, \"rss_ready_kb\": %ld, \"rss_end_kb\": %ld, "
           "\"rss_peak_kb\": %ld, ",
           rss_start, rss_ready, status_kb(options.pid, "VmRSS"), status_kb(options.pid, "VmHWM"));
    printf("\"connected\": %d, \"connect_s\": %.4f, \"connect_cpu_s\": %.3f, ", connected, connect_s,
           connect_cpu_s);
    samples_print(&measured.frames, "frames");
    samples_print(&measured.telemetry, "telemetry");
    samples_print(&measured.slow, "slow");
    printf("\"frames_sent\": %llu, \"frames_skipped\": %llu, \"telemetry_sent\": %llu, ",
           (unsigned long long)measured.frames_sent, (unsigned long long)measured.frames_skipped,
           (unsigned long long)measured.telemetry_sent);
    printf("\"late_ms\": %.3f, \"closed\": %d, \"errors\": %d", (double)measured.late_ns / 1e6,
           closed, errors);
    if (errors)
        fprintf(stderr, "the server answered: %s\n", first_error);
    printf("}\n");
    fflush(stdout);
    /* Whoever measures the servers does so before all clients leave. */
    if (options.announce)
        while (getchar() != EOF)
            ;
}

int main(int argc, char **argv)
{
    options_read(argc, argv);
    raise_file_limit();
    for (int role = 0; role < ROLES; role++) {
        first_of[role] = client_count;
        client_count += options.count[role];
    }
    clients = calloc((size_t)client_count, sizeof *clients);
    wire.epoll = epoll_create1(EPOLL_CLOEXEC);
    wire.on_message = on_message;
    wire.on_closed = on_closed;
    if (!clients || wire.epoll < 0 || getentropy(wire.mask, sizeof wire.mask))
        die("cannot start: %s", strerror(errno));
    load_tokens();
    wire_make_body(options.frame_bytes);
    run();
    return 0;
}
