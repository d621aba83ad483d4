import { IsNotEmpty, IsString } from 'class-validator';

export class CompactParams {
  /** A SQLite database file. */
  @IsString()
  @IsNotEmpty()
  file: string;
}
