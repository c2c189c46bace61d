/* Copyright (c) 2026 the onprem.autoscale authors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A stand-in for libnvidia-ml.so.1: the functions that gpu_info asks for, as strict as NVML about their arguments. It
 * reads the state of its GPUs at each call from the file that NVML_LAB_CONF names, else /etc/nvml-lab.conf.
 * README.md beside it says what stands there.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, ARGUMENT_VERSION_MISMATCH = 25
};
enum { MAX_GPUS = 16, MAX_PROCESSES = 32, FEATURES = 3, TEXT = 128 };
#define MIB (1024ULL * 1024ULL)
#define NOT_AVAILABLE UINT64_MAX

typedef struct { uint64_t total, free, used; } Memory;
typedef struct { unsigned version; uint64_t total, reserved, free, used; } Memory2;
typedef struct { unsigned pid; uint64_t used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { uint32_t year; uint16_t month, day, hour, min, sec; uint8_t status; } Expiry;
typedef struct {
    int code;
    unsigned state;
    char info[TEXT], product[TEXT];
    unsigned enabled;
    Expiry expiry;
} Feature;
typedef struct { int supported; unsigned count; Feature rows[FEATURES]; } Features;

/* -1 in a field: this GPU does not answer that. */
typedef struct {
    char name[TEXT], uuid[TEXT], expiry[TEXT];
    long long memory, used, reserved;
    int mode, mig, license, lost, no_processes;
    Process processes[MAX_PROCESSES];
    unsigned count;
} Gpu;

static struct { int init; char driver[TEXT]; Gpu gpus[MAX_GPUS]; unsigned count; } state;
static int users;
static char handles[MAX_GPUS]; /* their addresses are the handles */

static void copy(char *to, const char *from) { snprintf(to, TEXT, "%s", from); }

static int word(const char *value, const char *const *words) {
    for (int i = 0; words[i]; i++)
        if (!strcmp(value, words[i])) return i;
    return -1;
}

static void process(Gpu *gpu, const char *value) {
    unsigned pid;
    long long used = -1;
    if (!strcmp(value, "unsupported")) { gpu->no_processes = 1; return; }
    if (gpu->count == MAX_PROCESSES || sscanf(value, "%u %lld", &pid, &used) < 1) return;
    gpu->processes[gpu->count++] =
        (Process){pid, used < 0 ? NOT_AVAILABLE : (uint64_t)used * MIB, UINT32_MAX, UINT32_MAX};
}

static void field(Gpu *gpu, const char *key, const char *value) {
    static const char *const modes[] = {"none", "passthrough", "vgpu", "host_vgpu", "host_vsga", NULL};
    static const char *const switches[] = {"off", "on", NULL};
    static const char *const licenses[] = {"none", "unlicensed", "licensed", NULL};
    if (!strcmp(key, "name")) copy(gpu->name, value);
    else if (!strcmp(key, "uuid")) copy(gpu->uuid, value);
    else if (!strcmp(key, "memory_mb")) gpu->memory = strcmp(value, "unsupported") ? atoll(value) : -1;
    else if (!strcmp(key, "used_mb")) gpu->used = atoll(value);
    else if (!strcmp(key, "reserved_mb")) gpu->reserved = atoll(value);
    else if (!strcmp(key, "mode")) gpu->mode = word(value, modes);
    else if (!strcmp(key, "mig")) gpu->mig = word(value, switches);
    else if (!strcmp(key, "license")) gpu->license = word(value, licenses);
    else if (!strcmp(key, "expiry")) copy(gpu->expiry, value);
    else if (!strcmp(key, "lost")) gpu->lost = atoi(value);
    else if (!strcmp(key, "process")) process(gpu, value);
}

static int load(void) {
    const char *path = getenv("NVML_LAB_CONF");
    FILE *file = fopen(path && *path ? path : "/etc/nvml-lab.conf", "r");
    char line[512];
    Gpu *gpu = NULL;
    memset(&state, 0, sizeof state);
    copy(state.driver, "570.148.08");
    if (!file) return DRIVER_NOT_LOADED; /* no driver is loaded on a host without it */
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "#\r\n")] = 0;
        if (!strncmp(line, "[gpu]", 5) && state.count < MAX_GPUS) {
            gpu = &state.gpus[state.count];
            *gpu = (Gpu){.memory = 49152, .mig = -1, .license = -1};
            copy(gpu->name, "NVIDIA L40S");
            snprintf(gpu->uuid, TEXT, "GPU-00000000-0000-4000-8000-%012u", state.count++);
            continue;
        }
        char *value = strchr(line, '=');
        if (!value) continue;
        *value++ = 0;
        value += strspn(value, " \t");
        for (char *end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t');) *--end = 0;
        char *key = line + strspn(line, " \t");
        key[strcspn(key, " \t")] = 0;
        if (gpu) field(gpu, key, value);
        else if (!strcmp(key, "driver")) copy(state.driver, value);
        else if (!strcmp(key, "init")) state.init = atoi(value);
    }
    fclose(file);
    return state.init;
}

static int find(const void *handle, Gpu **gpu) {
    if (!users) return UNINITIALIZED;
    int error = load();
    if (error) return error;
    for (unsigned i = 0; i < state.count; i++)
        if (handle == &handles[i]) {
            *gpu = &state.gpus[i];
            return (*gpu)->lost ? GPU_IS_LOST : SUCCESS;
        }
    return INVALID_ARGUMENT;
}

static int text(const char *from, char *to, unsigned length) {
    if (!to) return INVALID_ARGUMENT;
    if (strlen(from) + 1 > length) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return SUCCESS;
}

#define FIND(handle) \
    Gpu *gpu; \
    int error = find(handle, &gpu); \
    if (error) return error

int nvmlInitWithFlags(unsigned flags) {
    if (flags) return INVALID_ARGUMENT;
    int error = load();
    if (!error) users++;
    return error;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    if (!users) return UNINITIALIZED;
    users--;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    case ARGUMENT_VERSION_MISMATCH: return "Argument version mismatch";
    default: return "Unknown Error";
    }
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    if (!users) return UNINITIALIZED;
    int error = load();
    return error ? error : text(state.driver, version, length);
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!users) return UNINITIALIZED;
    int error = load();
    if (error) return error;
    if (!count) return INVALID_ARGUMENT;
    *count = state.count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (!users) return UNINITIALIZED;
    int error = load();
    if (error) return error;
    if (!device || index >= state.count) return INVALID_ARGUMENT;
    if (state.gpus[index].lost) return GPU_IS_LOST;
    *device = &handles[index];
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *name, unsigned length) {
    FIND(device);
    return text(gpu->name, name, length);
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    FIND(device);
    return text(gpu->uuid, uuid, length);
}

int nvmlDeviceGetVirtualizationMode(void *device, int *mode) {
    FIND(device);
    if (!mode) return INVALID_ARGUMENT;
    if (gpu->mode < 0) return NOT_SUPPORTED;
    *mode = gpu->mode;
    return SUCCESS;
}

/* The first version counts what the driver keeps for itself as used. */
int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    FIND(device);
    if (!memory) return INVALID_ARGUMENT;
    if (gpu->memory < 0) return NOT_SUPPORTED;
    memory->total = gpu->memory * MIB;
    memory->used = (gpu->used + gpu->reserved) * MIB;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, Memory2 *memory) {
    FIND(device);
    if (!memory) return INVALID_ARGUMENT;
    if (memory->version != (sizeof(Memory2) | 2u << 24)) return ARGUMENT_VERSION_MISMATCH;
    if (gpu->memory < 0) return NOT_SUPPORTED;
    memory->total = gpu->memory * MIB;
    memory->reserved = gpu->reserved * MIB;
    memory->used = gpu->used * MIB;
    memory->free = memory->total - memory->used - memory->reserved;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    FIND(device);
    if (!current || !pending) return INVALID_ARGUMENT;
    if (gpu->mig < 0) return NOT_SUPPORTED;
    *current = *pending = gpu->mig;
    return SUCCESS;
}

/* Without room: how much is needed. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *rows) {
    FIND(device);
    if (!count || (*count && !rows)) return INVALID_ARGUMENT;
    if (gpu->no_processes) return NOT_SUPPORTED;
    unsigned room = *count;
    *count = gpu->count;
    if (room < gpu->count) return INSUFFICIENT_SIZE;
    memcpy(rows, gpu->processes, gpu->count * sizeof *rows);
    return SUCCESS;
}

int nvmlDeviceGetGridLicensableFeatures_v4(void *device, Features *features) {
    FIND(device);
    if (!features) return INVALID_ARGUMENT;
    if (gpu->license < 0) return NOT_SUPPORTED;
    memset(features, 0, sizeof *features);
    if (!gpu->license) return SUCCESS;
    features->supported = 1;
    features->count = 1;
    Feature *row = &features->rows[0];
    row->code = 1; /* vGPU */
    row->enabled = 1;
    row->state = gpu->license == 2;
    snprintf(row->info, TEXT, "NVIDIA Virtual Applications");
    snprintf(row->product, TEXT, "NVIDIA Virtual Compute Server");
    if (gpu->license != 2 || !gpu->expiry[0]) return SUCCESS;
    if (!strcmp(gpu->expiry, "permanent")) { row->expiry.status = 4; return SUCCESS; }
    unsigned d[6] = {0};
    if (sscanf(gpu->expiry, "%u-%u-%uT%u:%u:%u", d, d + 1, d + 2, d + 3, d + 4, d + 5) == 6)
        row->expiry = (Expiry){d[0], d[1], d[2], d[3], d[4], d[5], 2};
    else
        row->expiry.status = 1;
    return SUCCESS;
}
