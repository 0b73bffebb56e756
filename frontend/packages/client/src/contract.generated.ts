// Written by `make contract` from the Python source. Change that, not this.

/**
 * An uploaded file has become an essay of its batch.
 *
 * `essay.slot.assigned`
 */
export interface EssaySlotAssigned {
  /** The batch of both. */
  readonly batch_id: string;
  /** The essay that the file has become. */
  readonly essay_id: string;
  /** The file, as its upload named it. */
  readonly file_upload_id: string;
  /** Where the text is kept: 32 hex digits without dashes. */
  readonly text_storage_id: string;
  /** The file's name on the teacher's machine, any Unicode. */
  readonly original_file_name: string | null;
}

/**
 * An uploaded file can't become an essay.
 *
 * `essay.validation.failed`
 */
export interface EssayValidationFailed {
  /** The batch. */
  readonly batch_id: string;
  /** The file, as its upload named it. */
  readonly file_upload_id: string;
  /** The file's name on the teacher's machine, any Unicode. */
  readonly original_file_name: string;
  /** Why, for programs: `EMPTY_CONTENT`, `CONTENT_TOO_LONG`, … */
  readonly error_code: string;
  /** For the teacher to read. */
  readonly message: string;
}

/**
 * A service asks for a notification of one teacher.
 *
 * Its event's name is the producer's.
 */
export interface TeacherNotification {
  /** Groups notifications in the page: `batch_progress`, `file_operations`, … */
  readonly category: string;
  /** `critical`, `immediate`, `high`, `standard` or `low`. */
  readonly priority: string;
  /** Whether the teacher has to do something. */
  readonly action_required: boolean;
  /** Until when. */
  readonly deadline: string | null;
  /** The batch that it is about. */
  readonly batch_id: string | null;
  /** The class that it is about. */
  readonly class_id: string | null;
  /** Ties the notification to what caused it; shown instead of the envelope's. */
  readonly correlation_id: string;
  /** When it was asked for. */
  readonly timestamp: string | null;
  readonly [name: string]: unknown;
}

/** The data of each event by its name. A page adds those of its own platform by declaration merging. */
export interface EventData {
  readonly "essay.slot.assigned": EssaySlotAssigned;
  readonly "essay.validation.failed": EssayValidationFailed;
}

/** The data of the server's own messages by their name. */
export interface ControlData {
  readonly "doorstep.welcome": {
    /** The `seq` of the last notification that the user has read; 0: none. */
    readonly read: number;
    /** How many notifications follow it in the log, whether this client has them yet or not. */
    readonly unread: number;
    /** How often the server sends a ping: no byte for two of them means reconnect. */
    readonly ping_interval_ms: number;
    /** How many notifications a log keeps at least: as far back as a cursor can be resumed. */
    readonly history_max_count: number;
    /** Seconds that a log lives after its last notification. */
    readonly history_ttl_s: number;
    /** The longest message of a client. */
    readonly max_frame_bytes: number;
    /** How many messages a client may send for long. */
    readonly max_frames_per_s: number;
    /** How many sockets a user may have. */
    readonly max_sockets_per_user: number;
    /** How many polls of a user may wait. */
    readonly max_polls_per_user: number;
    /** Whose notifications these are. */
    readonly user_id: string;
    /** Where the socket stands; the same as at the top level. */
    readonly cursor: string;
    /** Whether that is the cursor that the client asked for. */
    readonly resumed: boolean;
    /** Why not, if it asked for one: as in `doorstep.reset`, which does not follow then; else null. */
    readonly reset: string | null;
  };
  readonly "doorstep.reset": {
    /** `gone`, `trimmed`, `diverged` or `malformed`. */
    readonly reason: string;
    /** Where notifications go on; the same as at the top level. */
    readonly cursor: string;
  };
  readonly "doorstep.read": {
    /** The `seq` of the last notification that the user has read; 0: none. */
    readonly read: number;
    /** How many notifications follow it in the log, whether this client has them yet or not. */
    readonly unread: number;
  };
  readonly "doorstep.token_expiring": {
    /** Milliseconds until then. */
    readonly in_ms: number;
  };
  readonly "doorstep.refreshed": {
    readonly [name: string]: unknown;
  };
  readonly "doorstep.pong": {
    readonly [name: string]: unknown;
  };
  readonly "doorstep.reconnect": {
    /** Milliseconds to wait before that. */
    readonly after_ms: number;
  };
}

/** What a client may send. */
export type Operation =
  | {
    readonly op: "ack";
    readonly cursor: string;
  }
  | {
    readonly op: "read";
    readonly cursor: string;
  }
  | {
    readonly op: "refresh";
    readonly token: string;
  }
  | {
    readonly op: "ping";
  };

/** Whether, and how, a client comes back. */
export type Reconnect = "never" | "with_jitter" | "with_backoff" | "with_new_token";

/** What to do about each close code. */
export const RECONNECT: Readonly<Record<number, Reconnect>> = {
  1000: "never",
  1001: "with_jitter",
  1002: "never",
  1003: "never",
  1005: "with_backoff",
  1006: "with_backoff",
  1007: "never",
  1009: "never",
  1011: "with_backoff",
  1012: "with_jitter",
  1013: "with_backoff",
  4001: "with_new_token",
  4003: "never",
  4008: "with_backoff",
  4009: "never",
};

/** What each close code means. */
export const CLOSE_MEANING: Readonly<Record<number, string>> = {
  1000: "the client closed, or asked to be closed",
  1001: "this server is stopping",
  1002: "a frame broke RFC 6455",
  1003: "a binary message came; only text is spoken here",
  1005: "something between closed, and said no code",
  1006: "the connection was lost, or refused before the 101: ask by HTTP why",
  1007: "a text message was not UTF-8",
  1009: "a message was longer than the limit",
  1011: "a fault of the server",
  1012: "the holder restarts, or the user moved",
  1013: "the client read too slowly; refused late: 503",
  4001: "the token expired, or the one that was to replace it had; refused late: 401",
  4003: "the new token is another user's; refused late: 403",
  4008: "the user has too many sockets; only where refused late: 429",
  4009: "a message was not one of the client operations, or far too many came; refused late: 400",
};

/** Where a WebSocket connects. */
export const WS_PATH = "/v1/ws";

/** Where a client polls. */
export const POLL_PATH = "/v1/notifications";

/** The WebSocket subprotocol. */
export const SUBPROTOCOL = "doorstep.v1";

/** Before the token, in a second subprotocol. */
export const SUBPROTOCOL_PREFIX = "bearer.";

/** The longest token. */
export const MAX_TOKEN_CHARS = 8192;

/** The longest user id, in UTF-8. */
export const MAX_USER_ID_BYTES = 256;

/** Notifications in the answer to a poll without `limit`. */
export const POLL_DEFAULT_LIMIT = 100;

/** Notifications in the answer to a poll, at most. */
export const POLL_MAX_LIMIT = 1000;

/** The longest wait of a poll, in seconds. */
export const POLL_MAX_WAIT_S = 30;

/** The longest message of a client (default). */
export const MAX_FRAME_BYTES = 16384;

/** What a client may send (default). */
export const MAX_FRAMES_PER_S = 100;

/** Between two pings (default). */
export const PING_INTERVAL_MS = 25000;

/** Sockets of one user (default). */
export const MAX_SOCKETS_PER_USER = 10;

/** Polls of one user that wait (default). */
export const MAX_POLLS_PER_USER = 20;

/** Notifications that a log keeps at least (default). */
export const HISTORY_MAX_COUNT = 1000;

/** Seconds that a log lives after its last one (default). */
export const HISTORY_TTL_S = 86400;
