import type { FailureKind } from '../session.js';

/** Serialization failure, deadlock: the same work succeeds when it is done again. */
const BUSY = /^(40001|40P01)$/;
/** A lock that was waited for as long as a session may. */
const HELD = '55P03';
/** A statement that was ended from outside, mostly by its time. */
const CANCELED = '57014';
/**
 * Connection exceptions, insufficient resources, read-only, shutdown and start-up of the server, a session
 * that was ended because its transaction had idled or lasted for too long, wrong user or database: nothing
 * is wrong with the work.
 */
const UNAVAILABLE = /^(08...|53...|57P0[1-5]|25006|25P0[34]|28...|3D000|58...|XX001|XX002)$/;
const NETWORK = /^(E[A-Z]{3,}|ERR_SOCKET_.*)$/;
/** What `pg` says without any code. */
const BROKEN =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|timeout expired|Query read timeout|Connection ended)/i;

/** What an error of PostgreSQL or of its driver means; TypeORM's wrapper is looked through. */
export function classifyPostgresError(thrown: unknown): FailureKind {
  for (let error = thrown; typeof error === 'object' && error !== null;) {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
    if (code === HELD) {
      return 'held';
    }
    if (code === CANCELED) {
      return 'slow';
    }
    if (BUSY.test(code)) {
      return 'busy';
    }
    if (UNAVAILABLE.test(code) || NETWORK.test(code)) {
      return 'unavailable';
    }
    if ('message' in error && typeof error.message === 'string' && BROKEN.test(error.message)) {
      return 'unavailable';
    }
    error = 'driverError' in error ? error.driverError : 'cause' in error ? error.cause : undefined;
  }
  return 'error';
}

/** The session ended, from whichever side, so the server may have done what nobody was told of. */
const ENDED = /^(08...|57P0[1-5]|25P0[34])$/;

/** Whether the connection broke while an answer was awaited; a server that refuses has not done it. */
export function isAnswerLost(error: unknown): boolean {
  const code =
    typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  return (
    classifyPostgresError(error) === 'unavailable' && (!SQLSTATE.test(code) || ENDED.test(code))
  );
}

/** Unlike `EPIPE` it has a digit. */
const SQLSTATE = /^(?=.*\d)[0-9A-Z]{5}$/;
