// class-transformer ships this module without types beside it. It has no public way to ask which
// class @Type() names; @nestjs/mapped-types reads the same module.
declare module 'class-transformer/cjs/storage.js' {
  export const defaultMetadataStorage: import('class-transformer/types/MetadataStorage.js').MetadataStorage;
}
