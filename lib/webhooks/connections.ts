import * as http from 'node:http';
import * as https from 'node:https';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import { type AddressRules, unbracketed } from './address-rules.js';
import { nameService, type Resolve, type ResolveFor } from './names.js';
import { Tunnels } from './tunnel.js';
import { PORTS, portOf } from './url-rules.js';

const CONNECT_MS = 5000;
/** An unused connection is kept so long: less than what receivers' servers allow. */
const IDLE_MS = 4000;
/** Unused connections that are kept, of one receiver and of all. */
const IDLE_OF_ONE = 64;

/** A request may not go where it would. */
export class RefusedAddress extends Error {
  override readonly name: string = 'RefusedAddress';
}

/** What connections are made with. */
export interface ConnectionsParts {
  readonly rules: AddressRules;
  /** What all requests go through; it looks names up, and judges where they lead. */
  readonly proxy?: URL | undefined;
  /** Instead of name servers and the operating system. */
  readonly resolve?: Resolve | undefined;
}

/** Whose request it is, and how it is connected. */
export interface Route {
  /** Who shares the room for looking names up. */
  readonly who: string;
  /** Whether a connection that was used before will not do. */
  readonly isFresh: boolean;
}

interface Agents {
  readonly http: http.Agent;
  readonly https: https.Agent;
}

/**
 * Connections to receivers. Each address is judged where it is connected to: a name that led to the
 * public internet when it was stored, or a moment ago, may lead into the host's own network now.
 * There is no proxy of the environment, no cookie and no credential of the host.
 */
export class Connections {
  readonly #rules: AddressRules;
  readonly #resolve: ResolveFor;
  readonly #tunnels: Tunnels | undefined;
  readonly #kept: Agents;
  readonly #fresh: Agents;
  readonly #open = new Set<http.ClientRequest>();
  #isClosed = false;

  constructor({ rules, proxy, resolve }: ConnectionsParts) {
    this.#rules = rules;
    this.#resolve = nameService(resolve, resolve);
    this.#tunnels = proxy === undefined ? undefined : new Tunnels(proxy);
    const agents = (options: http.AgentOptions): Agents =>
      this.#tunnels?.agents(options) ?? {
        http: new http.Agent(options),
        https: new https.Agent(options),
      };
    this.#kept = agents({ keepAlive: true, maxFreeSockets: IDLE_OF_ONE, timeout: IDLE_MS });
    this.#fresh = agents({ keepAlive: false });
  }

  /**
   * A request that has not been written yet; nothing of it leaves before the address was judged.
   * @throws RefusedAddress, and Error after {@link close}
   */
  request(url: URL, options: https.RequestOptions, { who, isFresh }: Route): http.ClientRequest {
    if (this.#isClosed) {
      throw new Error('the process that sends it ends');
    }
    const host = unbracketed(url.hostname);
    // Nobody looks a literal address up, so the lookup below does not see it.
    if (isIP(host) !== 0) {
      this.#judge(host, url);
    } else if (this.#tunnels !== undefined) {
      judgePort(url);
    }
    const agents = isFresh ? this.#fresh : this.#kept;
    const isSecure = url.protocol === 'https:';
    const full: https.RequestOptions = {
      ...options,
      lookup: this.#lookupFor(url, who),
      agent: isSecure ? agents.https : agents.http,
    };
    const request = isSecure ? https.request(url, full) : http.request(url, full);
    if (this.#tunnels === undefined) {
      request.once('socket', (socket) => this.#watch(socket, url, request));
    }
    this.#open.add(request);
    request.once('close', () => this.#open.delete(request));
    return request;
  }

  /** Nothing is under way any more, and nothing begins: an agent that is destroyed still connects. */
  close(): void {
    this.#isClosed = true;
    this.#open.forEach((request) => request.destroy());
    this.#tunnels?.close();
    for (const { http: plain, https: secure } of [this.#kept, this.#fresh]) {
      plain.destroy();
      secure.destroy();
    }
  }

  /** Looked up anew for every connection, whatever its time to live was; one bad answer spoils all. */
  #lookupFor(url: URL, who: string): LookupFunction {
    return (host, options, answer) => {
      this.#resolve(host, who).then(
        (found) => {
          try {
            if (found.length === 0) {
              throw new RefusedAddress(`${host} has no address`);
            }
            found.forEach(({ address }) => this.#judge(address, url));
          } catch (error) {
            answer(error as Error, '', 0);
            return;
          }
          const [first] = found;
          if (options.all === true) {
            answer(
              null,
              found.map(({ address, family }) => ({ address, family })),
            );
          } else {
            answer(null, first?.address ?? '', first?.family);
          }
        },
        (error: unknown) => answer(error as Error, '', 0),
      );
    };
  }

  /** Once more where it is connected, before the request is written; and no wait for ever. */
  #watch(socket: Socket, url: URL, request: http.ClientRequest): void {
    if (!socket.connecting) {
      return;
    }
    const isSecure = url.protocol === 'https:';
    const timer = setTimeout(
      () => request.destroy(new Error(`no connection within ${CONNECT_MS / 1000} s`)),
      CONNECT_MS,
    );
    socket.prependOnceListener('connect', () => {
      try {
        this.#judge(socket.remoteAddress ?? '', url);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.once(isSecure ? 'secureConnect' : 'connect', () => clearTimeout(timer));
    socket.once('close', () => clearTimeout(timer));
  }

  #judge(address: string, url: URL): void {
    if (this.#rules.isException(address)) {
      return;
    }
    if (!this.#rules.isAllowed(address)) {
      throw new RefusedAddress(`${url.hostname} leads to an address that is not allowed`);
    }
    judgePort(url);
  }
}

function judgePort(url: URL): void {
  if (!PORTS.has(portOf(url))) {
    throw new RefusedAddress(`port ${portOf(url)} is not allowed`);
  }
}
