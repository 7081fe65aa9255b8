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
	OVN_CONN_BORN = 1 << 6,	   /* its maker is still at it: nobody else ends it */
	OVN_CONN_DYING = 1 << 7,   /* not LIVE any more, but the index may name it */
	OVN_CONN_COUNTED = 1 << 8, /* in its zone's count */
	OVN_CONN_INDEXED = 1 << 9, /* the index has its tuple[0]; the next bit: tuple[1] */
};

/* TCP as seen from one side, OVS's enum ct_dpif_tcp_state. */
enum ovn_ct_tcp {
	OVN_TCPS_CLOSED = 0,
	OVN_TCPS_LISTEN,
	OVN_TCPS_SYN_SENT,
	OVN_TCPS_SYN_RECV,
	OVN_TCPS_ESTABLISHED,
	OVN_TCPS_CLOSE_WAIT,
	OVN_TCPS_FIN_WAIT_1,
	OVN_TCPS_CLOSING,
	OVN_TCPS_LAST_ACK,
	OVN_TCPS_FIN_WAIT_2,
	OVN_TCPS_TIME_WAIT,
};

/* How far an SCTP association is: those of the kernel's tracker. */
enum ovn_ct_sctp {
	OVN_SCTPS_NONE = 0,
	OVN_SCTPS_CLOSED,
	OVN_SCTPS_COOKIE_WAIT,
	OVN_SCTPS_COOKIE_ECHOED,
	OVN_SCTPS_ESTABLISHED,
	OVN_SCTPS_SHUTDOWN_SENT,
	OVN_SCTPS_SHUTDOWN_RECD,
	OVN_SCTPS_SHUTDOWN_ACK_SENT,
	OVN_SCTPS_HEARTBEAT_SENT,
	OVN_SCTPS_MAX,
};

#define OVN_WSCALE_KNOWN 0x80
#define OVN_WSCALE_LIBERAL 0x40 /* picked up in mid-stream: may be anything */
#define OVN_WSCALE_MASK 0x0f

/* One side of a TCP connection.  Of others, `state` of the original side says
 * how far it is: enum ovn_ct_sctp or ovn_ct_other.  SCTP: seq_lo is the tag that
 * this side's packets carry; see ct_sctp.h for the rest. */
struct ovn_ct_peer {
	__u32 seq_lo; /* highest sequence number sent + 1 */
	__u32 seq_hi; /* highest that the other side allows */
	__u16 max_win;
	__u8 wscale; /* OVN_WSCALE_* */
	__u8 state;
};

enum ovn_ct_other {
	OVN_OTHERS_FIRST = 0, /* one packet */
	OVN_OTHERS_MULTIPLE,  /* several in one direction */
	OVN_OTHERS_BIDIR,     /* both directions */
};

/* How long a connection may be idle: OVS's time-outs (lib/conntrack-tp.c); SCTP:
 * the kernel's, by enum ovn_ct_sctp. */
enum ovn_ct_timeout {
	OVN_CTT_TCP_SYN_SENT = 0,
	OVN_CTT_TCP_SYN_RECV,
	OVN_CTT_TCP_ESTABLISHED,
	OVN_CTT_TCP_FIN_WAIT,
	OVN_CTT_TCP_TIME_WAIT,
	OVN_CTT_TCP_CLOSE,
	OVN_CTT_UDP_FIRST,
	OVN_CTT_UDP_SINGLE,
	OVN_CTT_UDP_MULTIPLE,
	OVN_CTT_ICMP_FIRST,
	OVN_CTT_ICMP_REPLY,
	OVN_CTT_SCTP_CLOSED,
	OVN_CTT_SCTP_COOKIE_WAIT,
	OVN_CTT_SCTP_COOKIE_ECHOED,
	OVN_CTT_SCTP_ESTABLISHED,
	OVN_CTT_SCTP_SHUTDOWN_SENT,
	OVN_CTT_SCTP_SHUTDOWN_RECD,
	OVN_CTT_SCTP_SHUTDOWN_ACK_SENT,
	OVN_CTT_SCTP_HEARTBEAT_SENT,
	OVN_CTT_MAX,
};

/* cffi knows no kernel types; the program has this one from <linux/bpf.h>. */
#if !defined(__BPF__) && !defined(__LINUX_BPF_H__) && !defined(_UAPI__LINUX_BPF_H__)
struct bpf_spin_lock {
	__u32 val;
};
#endif

/*
 * A connection: an element of array `ovn_conns`; 0 is never used.
 *
 * Who clears LIVE and sets DYING (under the lock) owns what is left of it: takes
 * its tuples out of the index, sets flags to 0, gives the number back.  DYING and
 * past `expires`: its owner could not, and the timer tries again.
 */
struct ovn_conn {
	struct bpf_spin_lock lock;
	__u32 flags;	/* enum ovn_ct_flag */
	__u32 birth;	/* counts connections that this element was */
	__u32 epoch;	/* counts changes that a verdict may depend on; never goes back */
	__u32 zone_gen; /* ovn_ct_zone.gen when it began */
	__u32 timeout;	/* enum ovn_ct_timeout, last applied */
	struct ovn_ct_tuple tuple[2]; /* by enum ovn_ct_dir, as packets enter the tracker */
	__u32 mark;
	__u32 label[4]; /* most significant word first, as in the packet's words */
	struct ovn_ct_peer peer[2];
	__u32 pad;
	__u64 expires; /* ms of CLOCK_BOOTTIME */
	__u64 used;    /* last packet, likewise */
	__u64 packets[2];
	__u64 bytes[2];
};

/* Map `ovn_ct_ctl`, one element. */
struct ovn_ct_ctl {
	__u32 timeout[OVN_CTT_MAX]; /* ms; 0: OVS's default */
	__u32 ready;		    /* the defaults are in place */
	__u32 high;		    /* elements of ovn_conns ever used, 0 not counted */
	__u32 full;		    /* there are no more: only those given back */
	__u32 loose;		    /* 1: TCP sequence numbers are not checked */
	__u32 tick;		    /* ms between two looks for the expired; 0: 50 */
	__u32 batch;		    /* connections a look; 0: as many as seem right */
	__u32 cursor;		    /* where the next look begins */
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
	__u32 limit;	/* connections; 0: no limit */
	__s32 count[2]; /* of generations, the lowest bit of which is the index */
};

/* Map `ovn_ct_kill`: what program ovn_ct_flush ends, in order, while conn is not
 * 0; a connection that has been another since (birth) is left alone. */
struct ovn_ct_kill {
	__u32 conn;
	__u32 birth;
};
#define OVN_CT_KILLS 4096

/* LRU hash `ovn_frags`: what a first fragment had that later ones lack.  Addresses
 * as in the packet's words, before this zone translates them. */
struct ovn_first_key {
	__u32 src[4];
	__u32 dst[4];
	__u32 id;
	__u16 zone;
	__u8 proto; /* IPv6: what the fragment header says is next */
	__u8 pad;
};
struct ovn_first {
	struct ovn_first_key key; /* repeated: see the top of tables.h */
	__u32 ports;		  /* word OW_L4_PORTS */
	__u32 icmp_id;
	__u32 l4_proto;
	__u32 len;  /* bytes of the fragmented part that it had */
	__u32 seen; /* seconds of CLOCK_BOOTTIME */
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
