/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connection tracking: what the program keeps of a connection, and how actions
 * ask for it.  The connections lie in array `ovn_conns`; the two tuples of each,
 * original and reply, are keys of hash `ovn_ct_idx`, whose value says which
 * connection and which direction.  Nothing of a hash element is trusted: the
 * connection repeats both tuples, and is read and changed under its lock.
 *
 * Read by the program, by the C helpers and (through cffi) by the agent, which
 * shows and flushes connections.
 */
#ifndef OVN_BPF_CONNTRACK_H
#define OVN_BPF_CONNTRACK_H

#include "words.h"

/* Bits of OW_CT_STATE: OVN's ct_state, OVS's numbers. */
enum ovn_ct_state {
	OVN_CS_NEW = 1 << 0,
	OVN_CS_EST = 1 << 1,
	OVN_CS_REL = 1 << 2,
	OVN_CS_RPL = 1 << 3,
	OVN_CS_INV = 1 << 4,
	OVN_CS_TRK = 1 << 5,
	OVN_CS_SNAT = 1 << 6,
	OVN_CS_DNAT = 1 << 7,
};

/*
 * What OP_CT does (insn.a), in this order, in the zone that word insn.src holds:
 * look the packet up, translate it, commit it.  insn.c instructions follow that
 * are not run but say what becomes of the connection's mark and label: OP_SET and
 * OP_MOVE whose dst are words OW_CT_MARK .. OW_CT_LABEL + 3.
 *
 * OVN_CT_SRC and OVN_CT_DST take the new address from OW_ARG_IP (an IPv4 address
 * as ::ffff:a.b.c.d) and the ports from OW_ARG_PORT: least << 16 | greatest, 0
 * for "keep the packet's if possible".
 */
enum ovn_ct_action {
	OVN_CT_COMMIT = 1 << 0,
	OVN_CT_NAT = 1 << 1,	   /* translate as the connection has it, if it has */
	OVN_CT_SRC = 1 << 2,	   /* a new connection's source */
	OVN_CT_DST = 1 << 3,	   /* a new connection's destination */
	OVN_CT_NULL_SNAT = 1 << 4, /* a new connection's source port, where the
				    * reply's tuple is another connection's */
	OVN_CT_RANDOM = 1 << 5,	   /* a port at random out of the range */
	OVN_CT_KEEP = 1 << 6,	   /* nothing follows in a later table: the packet's
				    * words stay as they are */
	OVN_CT_BALANCE = 1 << 7,   /* a load balancer's; only a trace asks */
};

/* One direction of a connection.  Host-order words; IPv4 as ::ffff:a.b.c.d.
 * ICMP: ports is id << 16 | type << 8 | code, type and code of the request in
 * the original direction, of the reply in the other. */
struct ovn_ct_tuple {
	__u32 src[4];
	__u32 dst[4];
	__u32 ports; /* src << 16 | dst */
	__u16 zone;
	__u8 proto;
	__u8 family; /* 4 or 6 */
};

enum ovn_ct_dir {
	OVN_CT_ORIG = 0,
	OVN_CT_REPLY = 1,
};

enum ovn_ct_flag {
	OVN_CONN_LIVE = 1 << 0,	    /* in use */
	OVN_CONN_SEEN_RPL = 1 << 1, /* a reply was seen: established */
	OVN_CONN_SNAT = 1 << 2,
	OVN_CONN_DNAT = 1 << 3,
	OVN_CONN_CLOSING = 1 << 4, /* the first to go when room is needed */
	OVN_CONN_RELATED = 1 << 5, /* expected by another connection */
};

/* Per-protocol state; numbers are OVS's enum ct_dpif_tcp_state for TCP. */
struct ovn_ct_peer {
	__u32 seq_lo; /* highest sequence number sent + 1 */
	__u32 seq_hi; /* highest that the other side allows */
	__u16 max_win;
	__u8 wscale; /* bit 7: known */
	__u8 state;
};

/* Hash `ovn_ct_idx`: tuple -> this. */
struct ovn_ct_ref {
	__u32 conn; /* index in ovn_conns */
	__u32 dir;  /* enum ovn_ct_dir */
};

/* Map `ovn_ct_zones`, index zone.  A connection whose zone_gen is not its
 * zone's is dead: a zone is flushed by counting on. */
struct ovn_ct_zone {
	__u32 gen;
	__u32 limit; /* connections; 0: no limit */
	__s32 count; /* of this generation */
	__u32 pad;
};

/* Map `ovn_ct_count`, per CPU, index enum ovn_ct_counter. */
enum ovn_ct_counter {
	OVN_CTC_CREATED = 0,
	OVN_CTC_EXPIRED,
	OVN_CTC_EVICTED_CLOSING,
	OVN_CTC_EVICTED_UNREPLIED,
	OVN_CTC_EVICTED_ESTABLISHED,
	OVN_CTC_FULL,	     /* no room, nothing could be evicted */
	OVN_CTC_LIMIT,	     /* the zone's limit */
	OVN_CTC_NAT_EXHAUST, /* no free tuple for a translation */
	OVN_CTC_INVALID,
	OVN_CTC_BUSY, /* an index update was refused and tried again */
	OVN_CTC_FRAG, /* later fragment of an unknown first one */
	OVN_CTC_MAX,
};

#endif
