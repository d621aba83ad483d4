// class-transformer ships this module without types beside it. It has no public way to ask which
// class @Type() names; @nestjs/swagger and @nestjs/mapped-types read the same module.
declare module 'class-transformer/cjs/storage.js' {
  export const defaultMetadataStorage: import('class-transformer/types/MetadataStorage.js').MetadataStorage;
}
