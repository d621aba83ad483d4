import type { LoggerService } from '@nestjs/common';

/** What Nest and the library logged. */
export class CapturedLog implements LoggerService {
  readonly lines: { readonly level: string; readonly text: string }[] = [];

  /** The texts of a level, or of all. */
  texts(level?: string): string[] {
    return this.lines
      .filter((line) => level === undefined || line.level === level)
      .map((line) => line.text);
  }

  log(...parts: unknown[]): void {
    this.add('log', parts);
  }
  fatal(...parts: unknown[]): void {
    this.add('fatal', parts);
  }
  error(...parts: unknown[]): void {
    this.add('error', parts);
  }
  warn(...parts: unknown[]): void {
    this.add('warn', parts);
  }
  debug(...parts: unknown[]): void {
    this.add('debug', parts);
  }
  verbose(...parts: unknown[]): void {
    this.add('verbose', parts);
  }

  private add(level: string, parts: unknown[]): void {
    this.lines.push({ level, text: parts.map((part) => describe(part)).join(' ') });
  }
}

function describe(part: unknown): string {
  return part instanceof Error ? (part.stack ?? part.message) : String(part);
}
