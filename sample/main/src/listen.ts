import type { NestExpressApplication } from '@nestjs/platform-express';

/** Listens, on another port when this one is taken, and resolves with the address. */
export async function listen(
  app: NestExpressApplication,
  port: number,
  host: string,
): Promise<string> {
  try {
    await app.listen(port, host);
  } catch (error) {
    if (!isTaken(error)) throw error;
    await app.listen(0, host);
    console.log(`Port ${port} is taken (set PORT to choose another one).`);
  }
  return app.getUrl();
}

function isTaken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
}
