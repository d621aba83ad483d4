import { once } from 'node:events';
import { createServer } from 'node:net';
import type { NestExpressApplication } from '@nestjs/platform-express';

/** Listens, on another port when this one is taken, and resolves with the address. */
export async function listen(
  app: NestExpressApplication,
  port: number,
  host: string,
): Promise<string> {
  const isTaken = await isPortTaken(port, host);
  if (isTaken) console.log(`Port ${port} is taken (set PORT to choose another one).`);
  await app.listen(isTaken ? 0 : port, host);
  return app.getUrl();
}

async function isPortTaken(port: number, host: string): Promise<boolean> {
  const probe = createServer().listen(port, host);
  try {
    await once(probe, 'listening');
    return false;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return true;
    throw error;
  } finally {
    await new Promise((resolve) => probe.close(resolve));
  }
}
