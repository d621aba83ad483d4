import type { FailureKind } from '../session.js';

/** Deadlock; a read that the row has outlived: the same work succeeds when it is done again. */
const BUSY: readonly number[] = [1020, 1213, 1614];
/** A lock that was waited for as long as a session may, or not at all. */
const HELD: readonly number[] = [1205, 3572];
/** A statement that took longer than a session lets it, on MariaDB and on MySQL. */
const SLOW: readonly number[] = [1969, 3024];
/**
 * The server starts, stops, is full, out of memory, read-only, no part of its cluster now; too many
 * connections; wrong user or database: nothing is wrong with the work.
 */
const UNAVAILABLE: readonly number[] = [
  1021, 1037, 1038, 1040, 1041, 1042, 1043, 1044, 1045, 1047, 1049, 1053, 1077, 1078, 1079, 1080,
  1114, 1129, 1130, 1152, 1156, 1157, 1158, 1159, 1160, 1161, 1180, 1184, 1203, 1226, 1290, 1317,
  1698, 1792, 1836, 1927, 2006, 2013, 3169, 4031,
];
/** After these the session goes on, and what was said of the statement is certain. */
const REFUSED: readonly number[] = UNAVAILABLE.filter(
  (errno) =>
    ![1053, 1152, 1158, 1159, 1160, 1161, 1180, 1184, 1927, 2006, 2013, 4031].includes(errno),
);
/** What a change of a schema makes is there: a table, a column, an index. */
const THERE_ALREADY: readonly number[] = [1050, 1060, 1061];
const NETWORK = /^(E[A-Z]{3,}|ERR_SOCKET_.*|PROTOCOL_.*|HANDSHAKE_.*)$/;
/** What `mysql2` says without any code. */
const BROKEN =
  /^(Can't add new command when connection is in closed state|Connection ended|Connection lost)/i;

/** What an error of the server or of the driver means; TypeORM's wrapper is looked through. */
export function classifyMysqlError(thrown: unknown): FailureKind {
  for (let error = thrown; typeof error === 'object' && error !== null;) {
    const errno = 'errno' in error && typeof error.errno === 'number' ? error.errno : 0;
    const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
    if (HELD.includes(errno)) {
      return 'held';
    }
    if (SLOW.includes(errno)) {
      return 'slow';
    }
    if (BUSY.includes(errno)) {
      return 'busy';
    }
    if (UNAVAILABLE.includes(errno) || NETWORK.test(code)) {
      return 'unavailable';
    }
    if ('message' in error && typeof error.message === 'string' && BROKEN.test(error.message)) {
      return 'unavailable';
    }
    error = 'driverError' in error ? error.driverError : 'cause' in error ? error.cause : undefined;
  }
  return 'error';
}

/** Whether the connection broke while an answer was awaited; a server that refuses has not done it. */
export function isMysqlAnswerLost(error: unknown): boolean {
  return classifyMysqlError(error) === 'unavailable' && !REFUSED.includes(errnoOf(error));
}

/** Whether two transactions stood in each other's way. */
export function isDeadlock(error: unknown): boolean {
  return BUSY.includes(errnoOf(error));
}

/** Whether a table, a column or an index that was to be made is there already. */
export function isThereAlready(error: unknown): boolean {
  return THERE_ALREADY.includes(errnoOf(error));
}

function errnoOf(error: unknown): number {
  return typeof error === 'object' && error !== null && 'errno' in error ? Number(error.errno) : 0;
}
