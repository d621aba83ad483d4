/** Whoever is told: an HTTP server on the loopback that acknowledges what it gets, in a process of its own. */
import { createServer } from 'node:http';

export async function open() {
  let count = 0;
  let wanted = Infinity;
  let reached = () => {};
  const server = createServer((request, response) => {
    request.resume();
    request.once('end', () => {
      response.writeHead(204).end();
      count += 1;
      if (count === wanted) reached();
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    versions: {},
    url: `http://127.0.0.1:${server.address().port}/hooks`,
    /** Resolves once it has got so many in all. */
    async received(number) {
      if (count >= number) return;
      wanted = number;
      await new Promise((resolve) => (reached = resolve));
    },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
