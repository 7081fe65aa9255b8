/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The trace: a packet to try, and the events that it leaves.
 */
#ifndef OVN_BPF_TRACE_LAYOUT_H
#define OVN_BPF_TRACE_LAYOUT_H

#include "words.h"

/* What a walk tells when it is only tried (program ovn_trace). */
enum ovn_trace_kind {
	TRACE_NONE = 0,
	TRACE_MATCH,  /* the rule that matched in a table */
	TRACE_DROP,   /* a branch ended; reason says why */
	TRACE_DEVICE, /* out of a local port's device */
	TRACE_REMOTE, /* to another chassis */
	TRACE_PATCH,  /* over a patch port into dp, as its port */
	TRACE_EGRESS, /* into the egress pipeline, for port */
	TRACE_CLONE,  /* a copy begins here */
	TRACE_LEARN,  /* would have learnt a MAC address for port */
	TRACE_INSN,   /* about to execute the instruction at pc */
};

#define OVN_TRACE_EVENTS 16384

/* Map `ovn_trace_log`, in order of time. */
struct ovn_trace_event {
	__u32 kind;
	__u32 table; /* 0..127, as in stages */
	__u32 flow;  /* number of the logical flow that did it */
	__u32 prio;
	__u32 pc;
	__u32 port;    /* logical port key */
	__u32 chassis; /* index in ovn_chassis */
	__u32 reason;  /* enum ovn_drop */
	__u32 dp;
	__u32 egress;
	__u32 na;	    /* a neighbour advertisement: its flags, << 24, | 1 */
	__u32 nested;	    /* work items that were waiting */
	__u32 w[OVN_WORDS]; /* the context at this moment */
};

#define OVN_TRACE_CTS 32 /* --ct options of a trace */

/* Map `ovn_trace_ctl`, one element: the packet to try, and how many events.
 *
 * With n_ct states given, connection tracking answers them one after the other
 * and "established" from then on, as ovn-trace does; with none, the tracker is
 * asked, and changes nothing. */
struct ovn_trace_ctl {
	__u32 events;  /* more than OVN_TRACE_EVENTS: the rest is lost */
	__u32 remote;  /* 0: enters by inport; 1: from a tunnel, for outport */
	__u32 n_ct;    /* of ct[] */
	__u32 used_ct; /* taken so far */
	__u32 lb;      /* there is a backend to prefer (--lb-dst) */
	__u32 lb_ip[4];
	__u32 lb_port;		 /* 0: the packet's, where no list says it */
	__u32 select_id;	 /* what select chooses where it can; 0: as it would */
	__u32 length;		 /* of the frame, for check_pkt_larger */
	__u32 ct[OVN_TRACE_CTS]; /* enum ovn_ct_state */
	__u32 w[OVN_WORDS];
};

#endif
