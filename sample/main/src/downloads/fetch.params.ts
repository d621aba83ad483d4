import {
  IsInt,
  IsNotEmpty,
  IsNumber,
  IsOptional,
  IsPositive,
  IsString,
  Matches,
  Max,
  Min,
} from 'class-validator';

export class FetchParams {
  /** An http or https address. */
  @IsString()
  @Matches(/^[Hh][Tt][Tt][Pp][Ss]?:\/\/[^/]/)
  url: string;

  /** The file to write; it appears when it is whole, until then there is `<path>.part`. */
  @IsString()
  @IsNotEmpty()
  path: string;

  /** How many bytes it must have. */
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  size?: number | null;

  /** The SHA-256 that it must have, in hex. */
  @IsOptional()
  @IsString()
  @Matches(/^[0-9A-Fa-f]{64}$/)
  sha256?: string | null;

  /** A transfer that brings no byte for so many seconds is given up, and tried again. */
  @IsNumber()
  @IsPositive()
  @Max(3600)
  stallSec = 30;
}
