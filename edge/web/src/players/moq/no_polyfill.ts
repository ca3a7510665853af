/** Stands for the software audio decoders that `@moq/hang` would load: never called, see `MoqPlayer.isSupported`. */
export default {};
