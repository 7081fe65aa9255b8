/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs that others end in, and the way to the slow path and back.
 */
#ifndef OVN_BPF_PUNTS_LAYOUT_H
#define OVN_BPF_PUNTS_LAYOUT_H

#include "words.h"

/* Map `ovn_calls`: the programs that others end in, by a tail call. */
enum ovn_call {
	OVN_CALL_RUN = 0, /* ovn_run */
	OVN_CALL_SERVE,	  /* ovn_serve */
	OVN_CALL_MAX,
};

/*
 * A packet on its way to the slow path, in front of its frame (perf event array
 * `ovn_punts`), and on its way back (map `ovn_resume_ctl`, the frame by
 * PROG_TEST_RUN of ovn_resume).  Header words are the frame's, so only the others
 * count on the way back.
 */
struct ovn_punt {
	__u64 at;      /* nanoseconds of CLOCK_MONOTONIC when it came; back: unused */
	__u32 verb;    /* what is asked for */
	__u32 arg;     /* of which argument */
	__u32 mark;    /* of the list: another one has taken its place if it differs */
	__u32 pc;      /* of the OP_PUNT; back, 0: begin in `table` instead, or with
			* output to OW_OUTPORT if that is OVN_PUNT_OUTPUT */
	__u32 egress;  /* pipeline, 0 ingress, 1 egress */
	__u32 table;   /* 0..127 */
	__u32 flow;    /* number of the logical flow */
	__u32 queue;   /* skb->priority */
	__u32 ifindex; /* device of the VIF that it came from, or 0 */
	__u32 off;     /* where the frame begins in what follows */
	__u32 len;     /* of what follows */
	__u32 answer;  /* back: the bit */
	__u32 w[OVN_WORDS];
};

#define OVN_PUNT_RATE 200  /* packets a second that one source may have there, */
#define OVN_PUNT_BURST 100 /* and at once */
#define OVN_PUNT_OUTPUT 128
#define OVN_MAX_PUNT 3500 /* bytes of a frame; PROG_TEST_RUN takes a page */

/* BFD has a rate of its own: its packets are small, come by the clock, and many peers may
 * be behind one port. */
#define OVN_BFD_RATE 2000
#define OVN_BFD_BURST 200

enum ovn_pace {
	OVN_PACE_PUNT = 0, /* packets for the slow path */
	OVN_PACE_LOG,	   /* lines in the log, of log() without a meter */
	OVN_PACE_BFD,	   /* packets of handle_bfd_msg() */
};

/* LRU hash `ovn_punt_rate`: what a source has left. */
struct ovn_punt_source {
	__u32 ifindex; /* of a VIF, dp and port 0 then */
	__u32 dp;
	__u32 port;
	__u32 kind; /* enum ovn_pace */
};
struct ovn_punt_bucket {
	__u64 at;    /* nanoseconds of CLOCK_MONOTONIC */
	__u64 spare; /* nanoseconds' worth of packets */
};

#endif
