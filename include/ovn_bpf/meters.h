/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Meters, and what the program tells about packets that go on: log() and sample().
 *
 * A meter is in two maps under one key, so that the agent can change what it says
 * while no count is lost: `ovn_meters` is the agent's, `ovn_meter_use` the program's.
 */
#ifndef OVN_BPF_METERS_H
#define OVN_BPF_METERS_H

#include "conntrack.h"
#include "words.h"

#define OVN_METER_BANDS 4

struct ovn_meter_band {
	__u32 rate;  /* packets, or kilobits, a second; never 0 */
	__u32 burst; /* packets, or kilobits, at once */
};

/* Hash `ovn_meters`, by a digest of the name. */
struct ovn_meter {
	__u64 key;     /* repeated: see the top of tables.h */
	__u32 packets; /* 1: rates are of packets, 0: of kilobits */
	__u32 epoch;   /* another one: the buckets are full again */
	__u32 n;       /* of band[] */
	__u32 pad;
	struct ovn_meter_band band[OVN_METER_BANDS];
};

/* Hash `ovn_meter_use`, by the same. */
struct ovn_meter_use {
	struct bpf_spin_lock lock;
	__u32 epoch;
	__u64 key;
	__u64 passed;
	__u64 passed_bytes;
	__u64 dropped;
	__u64 dropped_bytes;
	__u64 full_at[OVN_METER_BANDS]; /* when each bucket is full, ns of CLOCK_MONOTONIC */
};

/*
 * What the program tells: ring buffers `ovn_logs`, `ovn_samples`.  Nobody need read
 * them; what finds no room is counted.
 */
struct ovn_event {
	__u64 at;   /* nanoseconds of CLOCK_MONOTONIC */
	__u32 arg;  /* log: number of what it says; sample: collector set */
	__u32 flow; /* number of the logical flow */
	__u32 egress;
	__u32 len;    /* of the frame */
	__u32 domain; /* sample: observation domain, */
	__u32 point;  /* and point */
	__u32 w[OVN_WORDS];
};

/* Per-CPU array `ovn_told`, of struct ovn_count. */
enum ovn_told {
	OVN_TOLD_LOG = 0,
	OVN_TOLD_LOG_LOST,    /* the ring was full */
	OVN_TOLD_LOG_LIMITED, /* a log without a meter: more than a source may have */
	OVN_TOLD_SAMPLE,
	OVN_TOLD_SAMPLE_LOST,
	OVN_TOLD_MAX,
};

#define OVN_LOG_RATE 1000  /* lines a second of one source without a meter, */
#define OVN_LOG_BURST 1000 /* and at once */

#endif
