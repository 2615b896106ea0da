/* What a run measures: latencies, and what the server's process has used. */
#ifndef MEASURE_H
#define MEASURE_H

#include "wire.h"

/* Latencies in microseconds, all of them kept: percentiles are exact. */
struct samples {
    uint32_t *us;
    size_t count;
    size_t room;
};

static inline void samples_add(struct samples *samples, uint64_t ns)
{
    if (samples->count == samples->room) {
        samples->room = samples->room ? 2 * samples->room : 4096;
        samples->us = realloc(samples->us, samples->room * sizeof *samples->us);
        if (!samples->us)
            die("out of memory");
    }
    const uint64_t us = ns / 1000;
    samples->us[samples->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static inline int compare_us(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Print count and percentiles as JSON members. Sorts the samples. */
static inline void samples_print(struct samples *samples, const char *name)
{
    const size_t n = samples->count;
    printf("\"%s\": {\"delivered\": %zu", name, n);
    if (n) {
        qsort(samples->us, n, sizeof *samples->us, compare_us);
        printf(", \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f", samples->us[n / 2] / 1e3,
               samples->us[n * 99 / 100] / 1e3, samples->us[n - 1] / 1e3);
    }
    printf("}, ");
}

/* CPU seconds that a process and its threads have used: utime + stime of /proc/PID/stat. */
static inline double cpu_seconds(int pid, long ticks_per_s)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        die("the server (pid %d) is gone", pid);
    const size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    unsigned long user = 0, system = 0;
    /* The command may hold anything but the last ')'. */
    const char *rest = strrchr(text, ')');
    if (!rest || sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                        &system) != 2)
        die("cannot read %s", path);
    return (double)(user + system) / (double)ticks_per_s;
}

/* Seconds that a core has been busy with whatever, or was kept from us by the host (/proc/stat). */
static inline double core_busy_seconds(int core, long ticks_per_s)
{
    char name[16], line[512];
    unsigned long user = 0, nice = 0, system = 0, irq = 0, softirq = 0, steal = 0;
    snprintf(name, sizeof name, "cpu%d ", core);
    FILE *file = fopen("/proc/stat", "r");
    if (!file)
        die("cannot read /proc/stat");
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            sscanf(line + strlen(name), "%lu %lu %lu %*u %*u %lu %lu %lu", &user, &nice, &system,
                   &irq, &softirq, &steal);
    fclose(file);
    return (double)(user + nice + system + irq + softirq + steal) / (double)ticks_per_s;
}

/* A kB value of /proc/PID/status: VmRSS is resident memory, VmHWM its peak. */
static inline long status_kb(int pid, const char *name)
{
    char path[64], line[256];
    long kb = -1;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        die("the server (pid %d) is gone", pid);
    while (kb < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            sscanf(line + strlen(name), ": %ld", &kb);
    fclose(file);
    return kb;
}

#endif
