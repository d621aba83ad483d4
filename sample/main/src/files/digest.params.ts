import { IsNotEmpty, IsOptional, IsString } from 'class-validator';

export class DigestParams {
  /** The folder; symbolic links in it are not followed. */
  @IsString()
  @IsNotEmpty()
  folder: string;

  /** Where the list of digests goes; by default the job's id in the data folder. */
  @IsOptional()
  @IsString()
  @IsNotEmpty()
  manifest?: string | null;
}

export interface DigestResult {
  readonly files: number;
  readonly bytes: number;
  readonly manifest: string;
  /** Digest of the manifest. */
  readonly sha256: string;
}
