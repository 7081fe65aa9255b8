/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an operator watches: packets of one logical port, or all, as they come, leave
 * or are dropped.  Array `ovn_watch` has one element, which a watcher writes; perf
 * event array `ovn_witness` brings it what was seen, with the frame.
 */
#ifndef OVN_BPF_WITNESS_H
#define OVN_BPF_WITNESS_H

enum ovn_seen {
	OVN_SEEN_IN = 1 << 0,	  /* came from a port's device */
	OVN_SEEN_TUNNEL = 1 << 1, /* came from another chassis */
	OVN_SEEN_OUT = 1 << 2,	  /* leaves by a port's device */
	OVN_SEEN_REMOTE = 1 << 3, /* leaves for another chassis: a, its number */
	OVN_SEEN_DROP = 1 << 4,	  /* ends here: a, enum ovn_drop */
};

struct ovn_watch {
	__u32 seen; /* enum ovn_seen, those that are wanted; 0: nobody watches */
	__u32 dp;   /* 0: of any datapath */
	__u32 port; /* inport or outport; 0: of any port */
	__u32 snap; /* bytes of a frame, at most */
};

struct ovn_witness {
	__u64 at; /* nanoseconds of CLOCK_MONOTONIC */
	__u32 seen;
	__u32 a;
	__u32 dp;
	__u32 inport;
	__u32 outport;
	__u32 flow;  /* number of the logical flow that matched last */
	__u32 table; /* and its table */
	__u32 len;   /* of the frame, */
	__u32 off;   /* and where its inner Ethernet header begins */
	__u32 taken; /* bytes of it that follow */
};

#endif
